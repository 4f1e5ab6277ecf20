cimport cython

from edgeloop.kernel cimport calls, interpreter, ticks
from edgeloop.kernel.epoll cimport Poller
from edgeloop.kernel.pulse cimport Pulse
from edgeloop.watching.figures cimport Counting, CountsPointer, Figures


cdef double UNTIMED
cdef double MAX_UNVERIFIED_SECONDS
cdef double SHORT_SECONDS
cdef double LONG_SECONDS
cdef int EARNED
cdef int FORFEITED
cdef int CAUTIOUS_CALLBACKS


cdef class Channel:
    cdef readonly int fd
    cdef readonly bint readable
    cdef readonly bint writable
    cdef readonly bint hangup
    cdef readonly bint urgent
    cdef bint deferred
    cdef Channel next_deferred
    cdef bint flush_queued
    cdef bint rearm_queued
    cdef Channel next_rearm
    cdef readonly bint added
    cdef int interest
    cdef unsigned long long registered_in
    cdef readonly int credit
    cdef int kind
    cdef object __weakref__
    cdef on_ready(self)
    cdef flush(self)
    cdef push(self)
    cdef after_callbacks(self)
    cdef on_closed(self)


cdef class Reactor(Counting):
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
    cdef public bint unverified
    cdef readonly bint idle
    cdef readonly dict companions
    cdef public unsigned long thread
    cdef Channel first_deferred
    cdef Channel last_deferred
    cdef list flush_queue
    cdef list unflushed
    cdef Py_ssize_t unflushed_from
    cdef double flush_queued_at
    cdef Py_ssize_t judged
    cdef double judged_at
    cdef int cautious
    cdef bint late
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
    cdef bint may_gather(self, Channel channel)
    @cython.locals(elapsed=double)
    cdef bint is_overdue(self, Channel channel)
    cdef _forfeit(self, Channel channel)
    cdef bint may_send(self)
    @cython.locals(appended=bint)
    cpdef schedule_flush(self, Channel channel)
    @cython.locals(channel=Channel, now=double, elapsed=double, waited=double)
    cdef callback_ended(self)
    @cython.locals(channel=Channel)
    cpdef push(self)
    @cython.locals(last=Channel)
    cpdef schedule_rearm(self, Channel channel)
    @cython.locals(channel=Channel, rest=Channel, last=Channel)
    cpdef process_rearm_queue(self)
    cpdef Channel find(self, int fd)
    cpdef wake(self)
    @cython.locals(channel=Channel, flush_queue=list, index=Py_ssize_t)
    cpdef flush(self)
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
