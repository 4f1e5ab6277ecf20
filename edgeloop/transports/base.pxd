cimport cython

from edgeloop.core.channel cimport Channel
from edgeloop.core.reactor cimport Reactor
from edgeloop.core.schedule cimport Scheduler
from edgeloop.kernel cimport calls, sockets

cdef int OPEN
cdef int CLOSING
cdef int LOST
cdef int CLOSED


cdef class BaseTransport(Channel):
    cdef readonly Scheduler _loop
    cdef Reactor _reactor
    cdef readonly object _context
    cdef object _protocol
    cdef object _ask
    cdef int _state
    cdef int _interest
    cdef readonly bint _paused
    cdef readonly long long resumes
    cdef _start(self, Scheduler loop, context, int interest)
    cdef _register(self)
    cdef _take_kept_registration(self)
    cdef bint _waits_for_room(self) except -1
    cdef int _number(self) except -1
    cdef bint _has_input(self) except -1
    cpdef _report(self, exc, message)
    cpdef _fatal_error(self, exc, message=*)
    cdef bint _is_ordinary(self, exc) except -1
    cpdef _force_close(self, exc)
    cdef _count_end(self, exc)
    cdef _drop_unsent(self)
    @cython.locals(fd=int)
    cdef _release(self)
    cdef _before_release(self)
    cdef _on_release(self)
    cdef _give_back(self, int fd)
