cimport cython

from edgeloop.kernel cimport calls, ticks
from edgeloop.kernel.epoll cimport Poller
from edgeloop.kernel.pulse cimport Pulse
from edgeloop.core.channel cimport Channel
from edgeloop.core.gathering cimport Gathering
from edgeloop.watching.figures cimport CountsPointer, Figures


cdef double UNTIMED
cdef double MAX_UNVERIFIED_SECONDS


cdef class Reactor(Gathering):
    cdef Poller poller
    cdef readonly Pulse pulse
    cdef readonly Figures figures
    cdef readonly list channels
    cdef bint woken
    cdef bint forked
    cdef bint usable
    cdef readonly int forks
    cdef readonly unsigned long long iteration
    cdef bint needs_poll
    cdef bint skipped
    cdef int num_events
    cdef int next_event
    cdef bint interrupted
    cdef bint resumed
    cdef public bint unverified
    cdef readonly bint idle
    cdef readonly dict companions
    cdef Channel first_deferred
    cdef Channel last_deferred
    cdef Channel first_rearm
    cdef Channel last_rearm
    cdef readonly object observer
    cdef object __weakref__
    @cython.locals(channel=Channel, deferred=Channel, queued=Channel)
    cpdef close(self)
    cpdef use_figures(self)
    @cython.locals(fd=int)
    cpdef add(self, Channel channel, int interest)
    cpdef rearm(self, Channel channel, int interest)
    cpdef rearm_if_open(self, Channel channel, int interest)
    @cython.locals(fd=int, companion=Channel)
    cpdef remove(self, Channel channel)
    @cython.locals(last=Channel)
    cpdef defer(self, Channel channel)
    @cython.locals(last=Channel)
    cpdef schedule_rearm(self, Channel channel)
    @cython.locals(channel=Channel, rest=Channel, last=Channel)
    cpdef process_rearm_queue(self)
    cpdef Channel find(self, int fd)
    cpdef wake(self)
    cpdef void request_poll(self) noexcept
    @cython.locals(counts=CountsPointer)
    cpdef has_sent(self, Py_ssize_t count)
    @cython.locals(counts=CountsPointer)
    cpdef has_received(self, Py_ssize_t count)
    cdef bint may_skip(self)
    @cython.locals(counts=CountsPointer, pulse=Pulse, before=cython.longlong, after=cython.longlong, num_events=int)
    cpdef wait(self, double timeout)
    @cython.locals(channel=Channel, rest=Channel, last=Channel, channels=list, poller=Poller, fd=int, mask=int, index=int,
                   completed=bint)
    cpdef dispatch(self)
    @cython.locals(channel=Channel, inherited=Poller, refused=Poller, fd=int)
    cdef _take_over(self)
