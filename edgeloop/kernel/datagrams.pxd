from cpython.ref cimport PyObject

from edgeloop.kernel.headers cimport iovec, mmsghdr, sockaddr_storage, socklen_t

cdef enum:
    BATCH = 64
    MAX_BYTES = 262144
    # Not a power of two: the messages of a batch would share the same few cache lines.
    STRIDE = 262144 + 320

cdef struct SendBatch:
    mmsghdr headers[BATCH]
    iovec data[BATCH]
    sockaddr_storage names[BATCH]
    PyObject* held[BATCH]  # owned: reading an address may run code that takes a message out of the list
    int count

cdef int MAX_DATAGRAMS

cpdef list recv_datagrams(int fd, int family, sock)
cpdef bint send_datagram(int fd, int family, sock, bytes data, address) except -1
cpdef bint is_plain(int family, address) noexcept
cpdef tuple send_datagrams(int fd, int family, sock, list messages, Py_ssize_t first)

# What segments.pyx uses too: the buffers, and who may use them.
cdef int SEND_FLAGS
cdef char scratch[BATCH * STRIDE]
cdef mmsghdr incoming[BATCH]
cdef sockaddr_storage incoming_names[BATCH]
cdef bint in_use

cdef object failure(int error)
cdef object peer_of(int fd, sockaddr_storage* name, socklen_t length)
cdef int fill(int fd) except? -1
cdef bytes data_of(message)
cdef void free_batch(SendBatch* batch) noexcept
cdef int gather(int family, list messages, Py_ssize_t first, SendBatch* batch) except -1
