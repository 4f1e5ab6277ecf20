"""OpenSSL's functions, and the ``SSL *`` of the ssl module's objects, where they can be found.

Neither is handed out by the ssl module. The functions are those that its shared object was linked with. The pointer is one
word of an ``_ssl._SSLSocket``: ``discover`` looks which, in objects made for that, and takes none that does not hold, where an SSL
object holds them, the two BIOs that it was made with. From 3.13.6 on some versions lock such an object while OpenSSL is at work on
it; where ``discover`` sees that done, the ssl module is left to do it. Wherever something is not as expected, and with
EDGELOOP_OPENSSL=0 in the environment, the pointer is not to be had. The pure edition does without (libssl.py).
"""

from cpython.ref cimport PyObject
from libc.stdint cimport uintptr_t
from posix.fcntl cimport O_CLOEXEC, O_NONBLOCK
from posix.unistd cimport close, read, write

import _ssl
import os
import ssl

cdef extern from *:
    """
    #include <dlfcn.h>
    #ifdef Py_GIL_DISABLED
    #define EDGELOOP_HAS_GIL 0
    #else
    #define EDGELOOP_HAS_GIL 1
    #endif
    """
    bint HAS_GIL "EDGELOOP_HAS_GIL"
    void* dlopen(const char* path, int flags)
    void* dlsym(void* library, const char* name)
    int RTLD_LAZY, RTLD_NOLOAD
    int pipe2(int* ends, int flags)
    struct PyTypeObject:
        Py_ssize_t tp_basicsize
    PyTypeObject* Py_TYPE(object)

# As in ``Functions``, in its order.
NAMES = (
    b"SSL_read_ex", b"SSL_write_ex", b"SSL_get_error", b"SSL_pending", b"SSL_get_rbio", b"SSL_get_wbio",
    b"SSL_set_bio", b"BIO_s_mem", b"BIO_new", b"BIO_free", b"BIO_up_ref", b"BIO_set_data", b"BIO_get_data",
    b"BIO_set_init", b"BIO_set_flags", b"BIO_clear_flags", b"BIO_get_new_index", b"BIO_meth_new",
    b"BIO_meth_set_read", b"BIO_meth_set_write", b"BIO_meth_set_ctrl",
    b"SSL_want", b"SSL_get_shutdown", b"ERR_clear_error", b"SSL_in_init",
)

HALF = getattr(_ssl, "_SSLSocket", None)
MEMORY = _ssl.MemoryBIO

# Where in an _ssl._SSLSocket its SSL* is, in bytes; 0 before anyone has looked, -1 where it is not to be had.
cdef Py_ssize_t place = -1 if os.environ.get("EDGELOOP_OPENSSL", "1") == "0" else 0


cdef SSL* ssl_of(half, incoming, outgoing) except? NULL:
    """The ``SSL *`` of an ``_ssl._SSLSocket`` that was made with these two MemoryBIOs; NULL where it is not to be had."""
    global place
    if type(half) is not HALF or type(incoming) is not MEMORY or type(outgoing) is not MEMORY:
        return NULL
    if not place:
        place = -1  # also for whoever comes while the objects are made, and if one can't be
        place = discover()
    if place < 0:
        return NULL
    cdef SSL* pointer = (<SSL**>(<char*><PyObject*>half + place))[0]
    if openssl.SSL_get_rbio(pointer) != first_word(incoming) or openssl.SSL_get_wbio(pointer) != first_word(outgoing):
        return NULL  # a context of the application's has put something in between
    return pointer


cdef Py_ssize_t discover() except 0:
    """Find the functions, and where the objects of the ssl module keep their pointers; -1 if that can't be."""
    if not HAS_GIL or not find_functions():
        return -1
    try:
        client = Throwaway(ssl.PROTOCOL_TLS_CLIENT, server_hostname="localhost")
        server = Throwaway(ssl.PROTOCOL_TLS_SERVER, server_side=True)
        found = client.place()
        if found < 0 or server.place() != found or locks(client, server):
            return -1
        return found
    except (ssl.SSLError, AttributeError):
        return -1  # an ssl module that is not as we know it


class Throwaway:
    """An SSL object of nobody's."""

    def __init__(self, protocol, **side):
        self.context = ssl.SSLContext(protocol)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.sslobj = self.context.wrap_bio(self.incoming, self.outgoing, **side)
        self.half = self.sslobj._sslobj

    def place(self):
        return place_in(self.half, self.incoming, self.outgoing)

    def image(self):
        cdef object half = self.half
        return (<char*><PyObject*>half)[sizeof(PyObject) : Py_TYPE(half).tp_basicsize]


cdef bint locks(client, server) except -1:
    """Whether an object differs while OpenSSL is at work on it, as it does where the ssl module locks it for that long."""
    seen = []
    server.context.sni_callback = lambda *arguments: seen.append(server.image())
    for sslobj in client.sslobj, server.sslobj:
        before = server.image()
        try:
            sslobj.do_handshake()
        except ssl.SSLError:
            pass  # the client waits for an answer; the server has no certificate to give one
        server.incoming.write(client.outgoing.read())
    server.context.sni_callback = None
    return seen != [before]


cdef Py_ssize_t place_in(half, incoming, outgoing) except 0:
    cdef BIO* into = bio_of(incoming)
    cdef BIO* out_of = bio_of(outgoing)
    if into == NULL or out_of == NULL:
        return -1
    cdef Py_ssize_t offset = sizeof(PyObject)
    cdef SSL* pointer
    while offset + <Py_ssize_t>sizeof(void*) <= Py_TYPE(half).tp_basicsize:
        pointer = (<SSL**>(<char*><PyObject*>half + offset))[0]
        if holds(pointer, into, 64) and holds(pointer, out_of, 64):
            if openssl.SSL_get_rbio(pointer) == into and openssl.SSL_get_wbio(pointer) == out_of:
                return offset
        offset += sizeof(void*)
    return -1


cdef BIO* bio_of(memory_bio) except? NULL:
    # The first thing in a MemoryBIO: one that was made by BIO_s_mem, or else it is not what it seems.
    if Py_TYPE(memory_bio).tp_basicsize < <Py_ssize_t>(sizeof(PyObject) + sizeof(void*)):
        return NULL
    cdef BIO* bio = first_word(memory_bio)
    return bio if holds(bio, openssl.BIO_s_mem(), 8) else NULL


cdef inline BIO* first_word(memory_bio) noexcept:
    return (<BIO**>(<char*><PyObject*>memory_bio + sizeof(PyObject)))[0]


cdef bint holds(const void* where, const void* what, int most) except -1:
    """Whether one of the ``most`` words, 64 of them or fewer, that ``where`` points to is ``what``.

    The kernel looks, by write(2): where there is no memory it says EFAULT.
    """
    cdef const void* words[64]
    cdef int ends[2]
    cdef ssize_t count = 0
    cdef Py_ssize_t index
    if where == NULL or <uintptr_t>where % sizeof(void*):
        return False
    if pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0:
        return False
    if write(ends[1], where, most * sizeof(void*)) > 0:
        count = read(ends[0], words, sizeof(words))
    close(ends[0])
    close(ends[1])
    for index in range(count // <ssize_t>sizeof(void*)):
        if words[index] == what:
            return True
    return False


cdef bint find_functions() except -1:
    # The shared object of the ssl module is loaded already, and dlsym(3) looks through what it was linked with.
    path = getattr(_ssl, "__file__", None)
    if path is None:
        return False
    cdef bytes encoded = path.encode("utf-8", "surrogateescape")
    cdef void* library = dlopen(encoded, RTLD_LAZY | RTLD_NOLOAD)
    if library == NULL:
        return False
    cdef void** functions = <void**>&openssl
    cdef Py_ssize_t index
    assert len(NAMES) * sizeof(void*) == sizeof(openssl)
    for index, name in enumerate(NAMES):
        functions[index] = dlsym(library, <bytes>name)
        if functions[index] == NULL:
            return False
    return True
