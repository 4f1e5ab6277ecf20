cimport cython

from edgeloop.core.schedule cimport Scheduler
from edgeloop.core.wheel cimport Member, Ring, Wheel

cdef double NEVER
cdef double HELD_SECONDS
cdef Py_ssize_t MAX_BYTES


cdef class RateLimits:
    cdef Scheduler _loop
    cdef public double read
    cdef public double write
    cdef Ring held
    cdef double now(self) except? -1


cdef class Bucket:
    cdef double _tokens
    cdef double _filled_at
    @cython.locals(most=double)
    cdef Py_ssize_t fill(self, double rate, double now) except -1
    cdef take(self, Py_ssize_t count)


cdef class Rates(Member):
    cdef RateLimits _limits
    cdef object _transport
    cdef Bucket _reading
    cdef Bucket _writing
    cdef Py_ssize_t allowed
    cdef bint read_held
    cdef bint write_held
    cpdef bint limits_writing(self) except -1
    cpdef bint may_read(self) except -1
    @cython.locals(count=Py_ssize_t)
    cpdef Py_ssize_t may_write(self, Py_ssize_t size) except -1
    cpdef has_read(self, Py_ssize_t count)
    cpdef has_written(self, Py_ssize_t count)
    @cython.locals(going_on=bint)
    cdef look(self, double now)


@cython.locals(size=Py_ssize_t)
cdef list first_bytes(list chunks, Py_ssize_t count, Py_ssize_t most)
