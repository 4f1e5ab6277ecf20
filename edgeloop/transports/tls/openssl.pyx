"""The engine of the compiled edition: OpenSSL's own functions in place of the ssl module's objects, where it can find them.

``openssl.py`` is the same interface for the pure edition. The SSL object is the ssl module's: it makes the handshake, and what
fails here is tried again through it, which raises the ssl module's exceptions. What succeeds here spares each record an
exchange of the interpreter's lock and two method calls with their arguments. OpenSSL reads from the bytes that were received,
through a BIO that copies nothing.

libssl.pyx finds the functions. Where it doesn't (a static libssl, another library, an interpreter that changed, EDGELOOP_OPENSSL=0)
the objects are used as in the pure edition.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from edgeloop.transports.tls cimport engine, state
from edgeloop.transports.tls.libssl cimport BIO, BIO_METHOD, SSL, openssl, ssl_of
from edgeloop.transports.tls.engine cimport Engine

from .engine import inner

# From openssl/ssl.h and openssl/bio.h, where they have been since OpenSSL 1.1.1, the oldest that CPython takes.
cdef enum:
    SSL_ERROR_WANT_READ = 2
    SSL_NOTHING = 1
    SSL_RECEIVED_SHUTDOWN = 2
    BIO_FLAGS_READ = 1
    BIO_FLAGS_RWS = 7
    BIO_FLAGS_SHOULD_RETRY = 8
    BIO_TYPE_SOURCE_SINK = 0x400
    BIO_CTRL_PENDING = 10
    BIO_CTRL_FLUSH = 11
    BIO_CTRL_WPENDING = 13

# How much one call of SSL_read_ex takes from what was received. Every record of data fits in (RFC 8446, section 5.2: 2^14 + 256
# bytes, and a head of 5), but OpenSSL would handle all KeyUpdates of a read in one call, 23 us for each 27 bytes.
cdef enum:
    MOST_IN_A_CALL = 16384 + 256 + 5
    NO_LIMIT = 0x7FFFFFFF

cdef BIO_METHOD* method = NULL
# Shared by every loop of the process, and only used with the GIL held. A callback of the application's (for debugging, or to
# log keys) may release it in the middle of a record, hence ``in_use``.
cdef char scratch[262144 + 16384]
cdef bint in_use = False


# What one connection's BIO reads from and writes to. OpenSSL calls with or without the GIL, so there are no objects in here.
cdef struct Wire:
    const char* unread  # in the bytes object that the engine holds
    Py_ssize_t unread_size
    Py_ssize_t allowance  # what may still be taken of it
    char* unsent  # this connection's own, or ``scratch``
    Py_ssize_t unsent_size
    Py_ssize_t unsent_capacity


cdef int wire_read(BIO* bio, char* data, int size) noexcept nogil:
    cdef Wire* wire = <Wire*>openssl.BIO_get_data(bio)
    cdef Py_ssize_t count
    openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY)
    if wire == NULL or not wire.unread_size or not wire.allowance:
        openssl.BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
        return -1
    count = min(<Py_ssize_t>size, min(wire.unread_size, wire.allowance))
    if count > 0:
        wire.allowance -= count
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
        return size  # the engine is gone, and somebody has kept the SSL object
    if size <= 0:
        return 0
    needed = wire.unsent_size + size
    if needed > wire.unsent_capacity:
        needed += needed // 2
        larger = <char*>realloc(NULL if wire.unsent == scratch else wire.unsent, needed)
        if larger == NULL:
            return -1
        if wire.unsent == scratch:
            memcpy(larger, scratch, wire.unsent_size)
        wire.unsent = larger
        wire.unsent_capacity = needed
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
        self._wire.allowance = NO_LIMIT
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

    cdef bint _decrypt(self, char* where, size_t limit, Py_ssize_t* size) noexcept:
        # Decrypt the next record, or ``limit`` bytes of it, and add its size to ``size``. Return True if there is more; else
        # ``input`` says why not.
        cdef size_t count
        cdef int done
        self._wire.allowance = MOST_IN_A_CALL
        done = openssl.SSL_read_ex(self._ssl, where, limit, &count)
        self._wire.allowance = NO_LIMIT  # for the ssl module's calls
        if not done:
            if not self._wants_read():
                self.input = state.FAILED
            else:
                self.input = state.MORE if self._wire.unread_size else state.WANT_READ
            return False
        size[0] += <Py_ssize_t>count
        self.input = state.MORE if self._wire.unread_size or openssl.SSL_pending(self._ssl) else state.WANT_READ
        return self.input == state.MORE

    cdef bint _wants_read(self) noexcept:
        """Return True if the call that has just failed needs more to read.

        SSL_get_error(3) wants the thread's error queue to be empty before each call, or what another library has left there
        counts as the call's. Emptying it costs as much as encrypting a hundred bytes, and
        only a failed call needs it: so it is emptied afterwards, where the connection's own state says that the call has put
        nothing there.
        """
        if openssl.SSL_get_error(self._ssl, 0) == SSL_ERROR_WANT_READ:
            return True
        if openssl.SSL_want(self._ssl) == SSL_NOTHING:
            # A fatal alert of the peer's counts as its shutdown too, but leaves an error behind, and the SSL object "in init",
            # as every fatal error does. Without that error the next call would take it for a close_notify.
            if not openssl.SSL_get_shutdown(self._ssl) & SSL_RECEIVED_SHUTDOWN or openssl.SSL_in_init(self._ssl):
                return False
        openssl.ERR_clear_error()
        return openssl.SSL_get_error(self._ssl, 0) == SSL_ERROR_WANT_READ

    cdef read(self):
        global in_use
        cdef Py_ssize_t size = 0
        if in_use:
            return self._by_module((engine.RECORD,)) or b""
        in_use = True
        try:
            while self._decrypt(scratch + size, engine.RECORD, &size):
                if size >= engine.MAX_PLAINTEXT:
                    break
            found = PyBytes_FromStringAndSize(scratch, size) if size else b""
        finally:
            in_use = False
        if not self._wire.unread_size:
            self._held = None
        if self.input == state.FAILED:
            found += self._by_module((engine.RECORD,)) or b""
        return found

    cdef Py_ssize_t read_into(self, buffer) except -1:
        cdef Py_buffer view
        cdef Py_ssize_t filled = 0
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            if not view.len:
                raise RuntimeError("get_buffer() returned an empty buffer")
            while self._decrypt(<char*>view.buf + filled, view.len - filled, &filled):
                if filled == view.len:
                    break
            if self.input == state.FAILED:
                found = self._by_module((min(view.len - filled, engine.RECORD),))
                if found:
                    memcpy(<char*>view.buf + filled, PyBytes_AS_STRING(found), PyBytes_GET_SIZE(found))
                    filled += PyBytes_GET_SIZE(found)
        finally:
            PyBuffer_Release(&view)
        if not self._wire.unread_size:
            self._held = None
        return filled

    cdef _by_module(self, tuple arguments):
        # After a failure this says what went wrong in the words of the ssl module: OpenSSL fails again as it did before.
        found = self._read(arguments)
        if found:
            self.input = state.MORE
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
            return done or self._write_by_module(data)
        in_use = True
        self._wire.unsent = scratch  # it was NULL: there is memory only while something is unsent
        self._wire.unsent_capacity = sizeof(scratch)
        try:
            done = openssl.SSL_write_ex(self._ssl, view.buf, view.len, &count)
            if self._wire.unsent == scratch and self._wire.unsent_size:
                self._keep(PyBytes_FromStringAndSize(scratch, self._wire.unsent_size))
        finally:
            if self._wire.unsent == scratch:
                self._wire.unsent = NULL
                self._wire.unsent_size = self._wire.unsent_capacity = 0
            in_use = False
            PyBuffer_Release(&view)
        return done or self._write_by_module(data)

    cdef bint _write_by_module(self, data) except -1:
        self._wants_read()
        return Engine.write(self, data)

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
            self._wire.unsent_size = 0
            if self._wire.unsent != scratch:  # else a callback of the context's asks, in the middle of a write
                free(self._wire.unsent)
                self._wire.unsent = NULL
                self._wire.unsent_capacity = 0
        self._records_size = 0
        cdef bytes record = self._record
        self._record = None
        if self._more_records is None:
            return record
        more = self._more_records
        self._more_records = None
        return b"".join([record, *more])


cpdef Engine engine_of(sslobj, incoming, outgoing):
    """Return the engine of ``sslobj``, which was made with these two."""
    cdef OpenSSLEngine made
    half = inner(sslobj)
    cdef SSL* pointer = ssl_of(half, incoming, outgoing)
    if pointer == NULL or (method == NULL and not make_method()):
        return Engine(half, incoming, outgoing)
    made = OpenSSLEngine(half, incoming, outgoing)
    made._connect(pointer)
    return made


cdef bint make_method() except -1:
    global method
    method = openssl.BIO_meth_new(openssl.BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "edgeloop")
    if method == NULL:
        return False
    openssl.BIO_meth_set_read(method, wire_read)
    openssl.BIO_meth_set_write(method, wire_write)
    openssl.BIO_meth_set_ctrl(method, wire_control)
    return True
