cimport cython

from edgeloop.kernel cimport calls, interpreter
from edgeloop.kernel.epoll cimport Poller


cdef double UNSURE_SECONDS
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
    cdef on_closed(self)


cdef class Reactor:
    cdef Poller poller
    cdef readonly list channels
    cdef bint woken
    cdef bint foreign
    cdef bint usable
    cdef readonly int forks
    cdef readonly unsigned long long batch
    cdef public bint stirred
    cdef bint skipped
    cdef int heard
    cdef int told
    cdef public bint unsure
    cdef readonly bint idle
    cdef readonly dict companions
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
    @cython.locals(channel=Channel)
    cpdef close(self)
    @cython.locals(fd=int)
    cpdef add(self, Channel channel, int interest)
    cpdef rearm(self, Channel channel, int interest)
    cpdef look_again(self, Channel channel, int interest)
    @cython.locals(fd=int, companion=Channel)
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
    @cython.locals(channel=Channel, queued=list, done=Py_ssize_t)
    cpdef look_again_at_queued(self)
    cpdef Channel find(self, int fd)
    cpdef wake(self)
    @cython.locals(channel=Channel, marked=list, index=Py_ssize_t)
    cpdef flush(self)
    cdef bint may_skip(self)
    cpdef wait(self, double timeout)
    @cython.locals(channel=Channel, leftover=list, channels=list, poller=Poller, fd=int, mask=int, index=int,
                   done=Py_ssize_t)
    cpdef dispatch(self)
    @cython.locals(channel=Channel, dropped=Poller, fd=int)
    cdef _take_over(self)
