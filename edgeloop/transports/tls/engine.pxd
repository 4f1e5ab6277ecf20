cimport cython

from edgeloop.transports.tls cimport state

cdef Py_ssize_t RECORD
cdef Py_ssize_t PIECE
cdef Py_ssize_t MAX_PLAINTEXT

cpdef forget_errors()


cdef class Engine:
    cdef int input
    cdef object _error
    cdef object _sslobj
    cdef object _incoming
    cdef object _outgoing
    cdef object _feed_bio
    cdef object _read_engine
    cdef object _write_engine
    cdef object _drain_bio
    cdef Py_ssize_t _fed
    cdef Py_ssize_t _asked
    cdef tuple _arguments
    cdef object _received
    cdef feed(self, data)
    cdef bint feed_more(self) except -1
    cdef Py_ssize_t unread(self) except -1
    @cython.locals(size=Py_ssize_t, limit=Py_ssize_t, pieces=list)
    cdef read(self)
    @cython.locals(size=Py_ssize_t, filled=Py_ssize_t, count=Py_ssize_t)
    cdef Py_ssize_t read_into(self, buffer) except -1
    @cython.locals(total=Py_ssize_t)
    cdef Py_ssize_t discard(self) except -1
    cdef take_error(self)
    cdef bint write(self, data) except -1
    cdef Py_ssize_t unsent(self) except -1
    cdef drain(self)
    cdef _read(self, tuple arguments)
    cdef bint _needs_input(self) except -1
