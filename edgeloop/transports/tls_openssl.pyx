"""The engine of the compiled edition: OpenSSL's own functions in place of the ssl module's objects, where it can find them.

``tls_openssl.py`` is the same interface for the pure edition. The SSL object is the ssl module's: it makes the handshake, and
whatever goes wrong is tried again through it, so that the exceptions are its own. Only what succeeds is done here, which spares
each record an exchange of the interpreter's lock and two method calls with their arguments; and OpenSSL takes what it reads from the
bytes that were received, through a BIO that keeps no memory of its own for them.

Neither the functions nor the ``SSL *`` are handed out by the ssl module. The functions are those that its shared object was
linked with. The pointer is one word of an ``_ssl._SSLSocket``: ``discover`` looks which, and takes none that does not hold,
where an SSL object holds them, the two BIOs that it was made with. Where anything is not as expected (a static libssl, another
library, an interpreter that changed) the objects are used as in the pure edition.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from posix.fcntl cimport O_CLOEXEC, O_NONBLOCK
from posix.unistd cimport close, read as posix_read, write as posix_write

from edgeloop.transports cimport tls_engine, tls_state
from edgeloop.transports.tls_engine cimport Engine

import _ssl

from .tls_engine import inner

cdef extern from *:
    """
    #include <dlfcn.h>
    typedef struct ssl_st edgeloop_ssl;
    typedef struct bio_st edgeloop_bio;
    typedef struct bio_method_st edgeloop_bio_method;
    #ifdef Py_GIL_DISABLED
    #define EDGELOOP_HAS_GIL 0
    #else
    #define EDGELOOP_HAS_GIL 1
    #endif
    """
    ctypedef struct SSL "edgeloop_ssl":
        pass
    ctypedef struct BIO "edgeloop_bio":
        pass
    ctypedef struct BIO_METHOD "edgeloop_bio_method":
        pass
    bint HAS_GIL "EDGELOOP_HAS_GIL"
    void* dlopen(const char* path, int flags)
    void* dlsym(void* library, const char* name)
    int RTLD_LAZY, RTLD_NOLOAD
    int pipe2(int* ends, int flags)
    struct PyTypeObject:
        Py_ssize_t tp_basicsize
    PyTypeObject* Py_TYPE(object)

# From openssl/ssl.h and openssl/bio.h, where they have been since OpenSSL 1.1.1, the oldest that CPython takes.
cdef enum:
    SSL_ERROR_WANT_READ = 2
    BIO_FLAGS_READ = 1
    BIO_FLAGS_RWS = 7
    BIO_FLAGS_SHOULD_RETRY = 8
    BIO_TYPE_SOURCE_SINK = 0x400
    BIO_CTRL_PENDING = 10
    BIO_CTRL_FLUSH = 11
    BIO_CTRL_WPENDING = 13

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

# The same, in this order.
NAMES = (
    b"SSL_read_ex", b"SSL_write_ex", b"SSL_get_error", b"SSL_pending", b"SSL_get_rbio", b"SSL_get_wbio",
    b"SSL_set_bio", b"BIO_s_mem", b"BIO_new", b"BIO_free", b"BIO_up_ref", b"BIO_set_data", b"BIO_get_data",
    b"BIO_set_init", b"BIO_set_flags", b"BIO_clear_flags", b"BIO_get_new_index", b"BIO_meth_new",
    b"BIO_meth_set_read", b"BIO_meth_set_write", b"BIO_meth_set_ctrl",
)

HALF = getattr(_ssl, "_SSLSocket", None)
MEMORY = _ssl.MemoryBIO

cdef Functions openssl
cdef BIO_METHOD* method = NULL
# Where in an _ssl._SSLSocket its SSL* is, in bytes; 0 before anyone has looked, -1 where it is not to be had.
cdef Py_ssize_t place = 0

# Shared by every loop of the process, and only used with the GIL held. A callback of the application's (for debugging, or to
# log keys) may let it go in the middle of a record, hence ``in_use``.
cdef char room[262144 + 16384]
cdef bint in_use = False


# What one connection's BIO reads from and writes to. OpenSSL calls with or without the GIL, so there are no objects in here.
cdef struct Wire:
    const char* unread  # in the bytes object that the engine holds
    Py_ssize_t unread_size
    char* unsent  # this connection's own, or ``room``
    Py_ssize_t unsent_size
    Py_ssize_t unsent_room


cdef int wire_read(BIO* bio, char* data, int size) noexcept nogil:
    cdef Wire* wire = <Wire*>openssl.BIO_get_data(bio)
    cdef Py_ssize_t count
    openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY)
    if wire == NULL or not wire.unread_size:
        openssl.BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
        return -1
    count = min(<Py_ssize_t>size, wire.unread_size)
    if count > 0:
        memcpy(data, wire.unread, count)
        wire.unread += count
        wire.unread_size -= count
    return <int>count


cdef int wire_write(BIO* bio, const char* data, int size) noexcept nogil:
    cdef Wire* wire = <Wire*>openssl.BIO_get_data(bio)
    cdef char* larger
    cdef Py_ssize_t needed
    openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY)
    if wire == NULL:
        return size  # of an SSL object that somebody has kept beyond its connection
    if size <= 0:
        return 0
    needed = wire.unsent_size + size
    if needed > wire.unsent_room:
        needed += needed // 2
        larger = <char*>realloc(NULL if wire.unsent == room else wire.unsent, needed)
        if larger == NULL:
            return -1
        if wire.unsent == room:
            memcpy(larger, room, wire.unsent_size)
        wire.unsent = larger
        wire.unsent_room = needed
    memcpy(wire.unsent + wire.unsent_size, data, size)
    wire.unsent_size += size
    return size


cdef long wire_control(BIO* bio, int command, long number, void* pointer) noexcept nogil:
    cdef Wire* wire
    if command == BIO_CTRL_FLUSH:
        return 1
    if command == BIO_CTRL_PENDING or command == BIO_CTRL_WPENDING:
        wire = <Wire*>openssl.BIO_get_data(bio)
        if wire != NULL:
            return wire.unread_size if command == BIO_CTRL_PENDING else wire.unsent_size
    return 0


@cython.no_gc_clear  # the wire points into ``_held``; a cycle is broken by those who refer to the engine
cdef class OpenSSLEngine(Engine):
    """See Engine."""

    cdef Wire _wire
    cdef SSL* _ssl
    cdef BIO* _bio
    cdef bytes _held
    cdef bytes _record
    cdef list _more_records
    cdef Py_ssize_t _records_size

    def __dealloc__(self):
        if self._bio != NULL:
            # The SSL object has a reference too, and somebody may keep it.
            openssl.BIO_set_data(self._bio, NULL)
            openssl.BIO_free(self._bio)
        free(self._wire.unsent)

    cdef bint _connect(self, SSL* ssl) except -1:
        """Have the SSL object read from and write to this engine."""
        self._bio = openssl.BIO_new(method)
        if self._bio == NULL:
            raise MemoryError("no memory for a BIO")
        openssl.BIO_set_data(self._bio, &self._wire)
        openssl.BIO_set_init(self._bio, 1)
        openssl.BIO_up_ref(self._bio)
        openssl.SSL_set_bio(ssl, self._bio, self._bio)  # which takes one reference, and gives up those to the two of before
        self._ssl = ssl
        self._incoming = self._outgoing = self._feed_bio = self._drain_bio = None
        return True

    cdef feed(self, data):
        cdef bytes owned = data if type(data) is bytes else bytes(data)
        if self._wire.unread_size:
            owned = self._wire.unread[: self._wire.unread_size] + owned
        self._held = owned
        self._wire.unread = PyBytes_AS_STRING(owned)
        self._wire.unread_size = PyBytes_GET_SIZE(owned)

    cdef bint feed_more(self) except -1:
        return False

    cdef Py_ssize_t unread(self) except -1:
        return self._wire.unread_size

    cdef bint _decrypt(self, char* where, size_t most, Py_ssize_t* size) noexcept:
        # Adds the next record, or ``most`` bytes of it, to ``size``. Whether there is more; else ``input`` says why not.
        cdef size_t count
        if not openssl.SSL_read_ex(self._ssl, where, most, &count):
            self.input = tls_state.DRY if openssl.SSL_get_error(self._ssl, 0) == SSL_ERROR_WANT_READ else tls_state.FAILED
            return False
        size[0] += <Py_ssize_t>count
        self.input = tls_state.MORE if self._wire.unread_size or openssl.SSL_pending(self._ssl) else tls_state.DRY
        return self.input == tls_state.MORE

    cdef read(self):
        global in_use
        cdef Py_ssize_t size = 0
        if in_use:
            return self._by_module((tls_engine.RECORD,)) or b""
        in_use = True
        try:
            while self._decrypt(room + size, tls_engine.RECORD, &size):
                if size >= tls_engine.MOST_PLAIN:
                    break
            found = PyBytes_FromStringAndSize(room, size) if size else b""
        finally:
            in_use = False
        if not self._wire.unread_size:
            self._held = None
        if self.input == tls_state.FAILED:
            found += self._by_module((tls_engine.RECORD,)) or b""
        return found

    cdef Py_ssize_t read_into(self, buffer, Py_ssize_t size) except -1:
        cdef Py_buffer view
        cdef Py_ssize_t filled = 0
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            while self._decrypt(<char*>view.buf + filled, view.len - filled, &filled):
                if filled == view.len:
                    break
        finally:
            PyBuffer_Release(&view)
        if not self._wire.unread_size:
            self._held = None
        if self.input == tls_state.FAILED:
            filled += self._by_module((size - filled, buffer[filled:]))
        return filled

    cdef _by_module(self, tuple arguments):
        # After a failure this says what went wrong in the words of the ssl module: OpenSSL fails again as it did before.
        found = self._read(arguments)
        if found:
            self.input = tls_state.MORE
        return found

    cdef bint write(self, data) except -1:
        global in_use
        cdef Py_buffer view
        cdef size_t count
        cdef int done
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        if in_use or self._wire.unsent_size:
            done = openssl.SSL_write_ex(self._ssl, view.buf, view.len, &count)
            PyBuffer_Release(&view)
            return done or Engine.write(self, data)
        in_use = True
        self._wire.unsent = room  # it was NULL: there is memory only while something is unsent
        self._wire.unsent_room = sizeof(room)
        try:
            done = openssl.SSL_write_ex(self._ssl, view.buf, view.len, &count)
            if self._wire.unsent == room and self._wire.unsent_size:
                self._keep(PyBytes_FromStringAndSize(room, self._wire.unsent_size))
        finally:
            if self._wire.unsent == room:
                self._wire.unsent = NULL
                self._wire.unsent_size = self._wire.unsent_room = 0
            in_use = False
            PyBuffer_Release(&view)
        return done or Engine.write(self, data)

    cdef Py_ssize_t unsent(self) except -1:
        return self._records_size + self._wire.unsent_size

    cdef _keep(self, bytes record):
        self._records_size += PyBytes_GET_SIZE(record)
        if self._record is None:
            self._record = record
        elif self._more_records is None:
            self._more_records = [record]
        else:
            self._more_records.append(record)

    cdef drain(self):
        if self._wire.unsent_size:
            self._keep(PyBytes_FromStringAndSize(self._wire.unsent, self._wire.unsent_size))
            free(self._wire.unsent)
            self._wire.unsent = NULL
            self._wire.unsent_size = self._wire.unsent_room = 0
        self._records_size = 0
        cdef bytes record = self._record
        self._record = None
        if self._more_records is None:
            return record
        more = self._more_records
        self._more_records = None
        return b"".join([record, *more])


cpdef Engine engine_of(sslobj, incoming, outgoing):
    """What encrypts and decrypts for ``sslobj``, which was made with these two."""
    global place
    cdef OpenSSLEngine engine
    cdef SSL* pointer
    half = inner(sslobj)
    if type(half) is not HALF or type(incoming) is not MEMORY or type(outgoing) is not MEMORY:
        return Engine(half, incoming, outgoing)
    if not place:
        place = discover(half, incoming, outgoing)
    if place < 0:
        return Engine(half, incoming, outgoing)
    pointer = (<SSL**>(<char*><PyObject*>half + place))[0]
    if openssl.SSL_get_rbio(pointer) != first_word(incoming) or openssl.SSL_get_wbio(pointer) != first_word(outgoing):
        return Engine(half, incoming, outgoing)  # a context of the application's has put something in between
    engine = OpenSSLEngine(half, incoming, outgoing)
    engine._connect(pointer)
    return engine


cdef Py_ssize_t discover(half, incoming, outgoing) except 0:
    """Find the functions, and where the objects of the ssl module keep their pointers; -1 if that can't be."""
    if not HAS_GIL or not find_functions() or not make_method():
        return -1
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
    if posix_write(ends[1], where, most * sizeof(void*)) > 0:
        count = posix_read(ends[0], words, sizeof(words))
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


cdef bint make_method() except -1:
    global method
    method = openssl.BIO_meth_new(openssl.BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "edgeloop")
    if method == NULL:
        return False
    openssl.BIO_meth_set_read(method, wire_read)
    openssl.BIO_meth_set_write(method, wire_write)
    openssl.BIO_meth_set_ctrl(method, wire_control)
    return True
