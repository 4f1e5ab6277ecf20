cimport cython

from edgeloop.kernel cimport calls
from edgeloop.core.reactor cimport Reactor
from edgeloop.core.schedule cimport Scheduler

cdef double ROUND_SECONDS
cdef int LOOKS_BETWEEN
cdef Py_ssize_t NO_LIMIT


cdef class Member:
    cdef Ring ring
    cdef Py_ssize_t place
    cdef look(self, double now)
    cpdef leave(self)


cdef class Ring:
    cdef Wheel _wheel
    cdef double _period
    cdef Py_ssize_t _share
    cdef list members
    cdef double next_at
    cdef Py_ssize_t left
    cdef bint turning
    cpdef add(self, Member member)
    @cython.locals(last=Member)
    cpdef remove(self, Member member)
    cpdef set_period(self, double period)
    cdef expect(self, double now)
    @cython.locals(end=double, looks=Py_ssize_t, member=Member)
    cdef go_round(self, double now)


cdef class Wheel:
    cdef Scheduler _loop
    cdef list _rings
    cdef object _timer
    cdef double _timer_at
    cdef object _context
    cdef object __weakref__
    cpdef bint is_set(self) except -1
    cpdef start(self, Ring ring)
    cdef _set_timer(self, double when)
    @cython.locals(now=double, ring=Ring)
    cpdef _tick(self)
    @cython.locals(when=double, ring=Ring, rings=list, place=Py_ssize_t)
    cdef _go_on(self)
    @cython.locals(ring=Ring, rings=list)
    cpdef close(self)
