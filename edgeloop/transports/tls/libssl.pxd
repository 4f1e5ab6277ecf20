"""OpenSSL's functions that are called here, as openssl/ssl.h and openssl/bio.h declare them."""

cdef extern from *:
    """
    typedef struct ssl_st edgeloop_ssl;
    typedef struct bio_st edgeloop_bio;
    typedef struct bio_method_st edgeloop_bio_method;
    """
    ctypedef struct SSL "edgeloop_ssl":
        pass
    ctypedef struct BIO "edgeloop_bio":
        pass
    ctypedef struct BIO_METHOD "edgeloop_bio_method":
        pass

cdef struct Functions:
    int (*SSL_read_ex)(SSL*, void*, size_t, size_t*) noexcept nogil
    int (*SSL_write_ex)(SSL*, const void*, size_t, size_t*) noexcept nogil
    int (*SSL_get_error)(const SSL*, int) noexcept nogil
    int (*SSL_pending)(const SSL*) noexcept nogil
    BIO* (*SSL_get_rbio)(const SSL*) noexcept nogil
    BIO* (*SSL_get_wbio)(const SSL*) noexcept nogil
    void (*SSL_set_bio)(SSL*, BIO*, BIO*) noexcept nogil
    const BIO_METHOD* (*BIO_s_mem)() noexcept nogil
    BIO* (*BIO_new)(const BIO_METHOD*) noexcept nogil
    int (*BIO_free)(BIO*) noexcept nogil
    int (*BIO_up_ref)(BIO*) noexcept nogil
    void (*BIO_set_data)(BIO*, void*) noexcept nogil
    void* (*BIO_get_data)(BIO*) noexcept nogil
    void (*BIO_set_init)(BIO*, int) noexcept nogil
    void (*BIO_set_flags)(BIO*, int) noexcept nogil
    void (*BIO_clear_flags)(BIO*, int) noexcept nogil
    int (*BIO_get_new_index)() noexcept nogil
    BIO_METHOD* (*BIO_meth_new)(int, const char*) noexcept nogil
    int (*BIO_meth_set_read)(BIO_METHOD*, int (*)(BIO*, char*, int) noexcept nogil) noexcept nogil
    int (*BIO_meth_set_write)(BIO_METHOD*, int (*)(BIO*, const char*, int) noexcept nogil) noexcept nogil
    int (*BIO_meth_set_ctrl)(BIO_METHOD*, long (*)(BIO*, int, long, void*) noexcept nogil) noexcept nogil
    int (*SSL_want)(const SSL*) noexcept nogil
    int (*SSL_get_shutdown)(const SSL*) noexcept nogil
    void (*ERR_clear_error)() noexcept nogil
    int (*SSL_in_init)(const SSL*) noexcept nogil

cdef Functions openssl  # all NULL until ``ssl_of`` has found them

cdef SSL* ssl_of(half, incoming, outgoing) except? NULL
