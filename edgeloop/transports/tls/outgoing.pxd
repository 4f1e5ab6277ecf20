cimport cython

from edgeloop.core cimport gathering
from edgeloop.kernel cimport calls, interpreter
from edgeloop.transports.tls cimport engine
from edgeloop.transports.tls.engine cimport Engine

cdef Py_ssize_t MAX_TAKEN
cdef int LATE_FACTOR
cdef int MAX_CREDIT_NEEDED


cdef class OutgoingBuffer:
    cdef Engine _engine
    cdef list _chunks
    cdef Py_ssize_t _taken
    cdef Py_ssize_t size
    cdef bint wants_read
    cdef bint lower_full
    cdef bint lower_ended
    cdef append(self, data)
    cdef drop(self)
    cdef Py_ssize_t unsent(self) except -1
    cdef send(self, lower, bint keep_last)
    cdef _send_some(self, lower, bint keep_last)
    @cython.locals(records=bytes)
    cdef send_records(self, lower)
    @cython.locals(size=Py_ssize_t)
    cdef _encrypt(self)
    @cython.locals(size=Py_ssize_t)
    cdef _fit(self, chunk)
    @cython.locals(count=Py_ssize_t)
    cdef _take(self)
    cdef _put_back(self, chunk)


cdef class Gathering:
    cdef int _credit
    cdef int _credit_needed
    cdef int writes
    cdef double _first_write
    cdef bint was_late
    @cython.locals(elapsed=double, earned=bint)
    cdef bint may_wait(self) except -1
    @cython.locals(elapsed=double)
    cdef call_ended(self)
    @cython.locals(earned=bint)
    cdef _judge(self, double elapsed)
