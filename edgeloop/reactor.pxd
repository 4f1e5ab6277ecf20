cimport cython

from edgeloop cimport kernel
from edgeloop.kernel_epoll cimport Poller


cdef int QUIET_WAITS
cdef double QUIET_SECONDS
cdef unsigned int TURNS_A_CLOCK
cdef double SHORT_SECONDS
cdef double LONG_SECONDS
cdef int EARNED
cdef int CAUTIOUS_CALLBACKS
cdef list _NOTHING


cdef class Channel:
    cdef readonly int fd
    cdef readonly bint readable
    cdef readonly bint writable
    cdef readonly bint hung
    cdef readonly bint urgent
    cdef bint deferred
    cdef bint marked
    cdef readonly bint added
    cdef int interest
    cdef unsigned long long born
    cdef readonly int credit
    cdef object __weakref__
    cdef on_ready(self)
    cdef flush(self)
    cdef push(self)
    cdef on_called(self)


cdef class Reactor:
    cdef Poller poller
    cdef readonly list channels
    cdef bint woken
    cdef bint foreign
    cdef readonly unsigned long long batch
    cdef public bint stirred
    cdef bint skipped
    cdef int quiet
    cdef double asked
    cdef unsigned int skips
    cdef int heard
    cdef int told
    cdef public unsigned long thread
    cdef list leftover
    cdef list marked
    cdef double marked_at
    cdef Py_ssize_t judged
    cdef double judged_at
    cdef int cautious
    cdef bint late
    cdef list queued
    cdef object __weakref__
    cpdef add(self, Channel channel, int interest)
    cpdef rearm(self, Channel channel, int interest)
    cpdef look_again(self, Channel channel, int interest)
    cpdef remove(self, Channel channel)
    cpdef defer(self, Channel channel)
    cdef bint may_gather(self, Channel channel)
    cdef bint may_send(self)
    cpdef mark(self, Channel channel)
    @cython.locals(channel=Channel, now=double, elapsed=double, waited=double)
    cdef callback_ended(self)
    @cython.locals(channel=Channel)
    cpdef push(self)
    cpdef mark_queued(self, Channel channel)
    @cython.locals(channel=Channel, queued=list)
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
