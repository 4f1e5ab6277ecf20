cimport cython

from edgeloop cimport kernel
from edgeloop.kernel_epoll cimport Poller


cdef int QUIET_WAITS
cdef double QUIET_SECONDS
cdef unsigned int TURNS_A_CLOCK
cdef double UNSURE_SECONDS
cdef list _NOTHING


cdef class Channel:
    cdef readonly int fd
    cdef readonly bint readable
    cdef readonly bint writable
    cdef readonly bint hung
    cdef bint deferred
    cdef bint marked
    cdef readonly bint added
    cdef int interest
    cdef unsigned long long born
    cdef object __weakref__
    cdef on_ready(self)
    cdef flush(self)
    cdef on_called(self)
    cdef on_closed(self)


cdef class Reactor:
    cdef Poller poller
    cdef readonly list channels
    cdef bint woken
    cdef public bint running
    cdef bint foreign
    cdef bint usable
    cdef readonly int forks
    cdef readonly unsigned long long batch
    cdef public bint stirred
    cdef bint skipped
    cdef int quiet
    cdef double asked
    cdef unsigned int skips
    cdef int heard
    cdef int told
    cdef public bint unsure
    cdef readonly bint idle
    cdef readonly dict companions
    cdef list leftover
    cdef list marked
    cdef list queued
    cdef object __weakref__
    @cython.locals(channel=Channel)
    cpdef close(self)
    @cython.locals(fd=int)
    cpdef add(self, Channel channel, int interest)
    cpdef rearm(self, Channel channel, int interest)
    cpdef look_again(self, Channel channel, int interest)
    @cython.locals(fd=int, companion=Channel)
    cpdef remove(self, Channel channel)
    cpdef defer(self, Channel channel)
    cpdef mark(self, Channel channel)
    cpdef mark_queued(self, Channel channel)
    @cython.locals(channel=Channel, queued=list, done=Py_ssize_t)
    cpdef look_again_at_queued(self)
    cpdef Channel find(self, int fd)
    cpdef wake(self)
    @cython.locals(channel=Channel, marked=list, index=Py_ssize_t)
    cpdef flush(self)
    @cython.locals(elapsed=double)
    cdef bint may_skip(self)
    @cython.locals(skipped=bint)
    cpdef wait(self, double timeout)
    @cython.locals(channel=Channel, leftover=list, channels=list, poller=Poller, fd=int, mask=int, index=int,
                   done=Py_ssize_t)
    cpdef dispatch(self)
    @cython.locals(channel=Channel, dropped=Poller, fd=int)
    cdef _take_over(self)
