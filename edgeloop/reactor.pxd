cimport cython

from edgeloop cimport kernel
from edgeloop.kernel_epoll cimport Poller


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


cdef class Reactor:
    cdef Poller poller
    cdef readonly list channels
    cdef bint woken
    cdef bint foreign
    cdef readonly unsigned long long batch
    cdef public bint stirred
    cdef bint skipped
    cdef int heard
    cdef int told
    cdef list leftover
    cdef list marked
    cdef list queued
    cdef object __weakref__
    cpdef add(self, Channel channel, int interest)
    cpdef rearm(self, Channel channel, int interest)
    cpdef look_again(self, Channel channel, int interest)
    cpdef remove(self, Channel channel)
    cpdef defer(self, Channel channel)
    cpdef mark(self, Channel channel)
    cpdef mark_queued(self, Channel channel)
    @cython.locals(channel=Channel, queued=list)
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
