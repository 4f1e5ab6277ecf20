cimport cython

from edgeloop.kernel cimport calls
from edgeloop.core.channel cimport Channel
from edgeloop.core.reactor cimport Reactor
from edgeloop.core.schedule cimport Scheduler


cdef int WATCH
cdef int TURNS_KEPT
cdef int MAX_UNVERIFIED_TURNS
cdef int _NOT_ASKED


cdef class Registration(Channel):
    cdef Scheduler _loop
    cdef public int number
    cdef readonly object owner
    cdef int _short_reads
    cdef int _turns_kept
    cdef int _turns_unverified
    cpdef bint waits(self)
    cpdef lose(self, int error)
    cdef int _interest(self)
    cdef _update(self)
    cdef _narrow(self)
    cdef _keep(self, sock)
    cdef after_callbacks(self)
    @cython.locals(reactor=Reactor, closed=bint)
    cdef _verify(self)
    cdef _forget_soon(self)
    cdef _forget_if_idle(self)
    @cython.locals(reactor=Reactor, fd=int)
    cpdef forget(self)
