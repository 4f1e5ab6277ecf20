cimport cython

from edgeloop.kernel cimport calls, interpreter
from edgeloop.core.channel cimport Channel
from edgeloop.watching.figures cimport Counting


cdef double SHORT_SECONDS
cdef double LONG_SECONDS
cdef int EARNED
cdef int FORFEITED
cdef int CAUTIOUS_CALLBACKS


cdef class Gathering(Counting):
    cdef public unsigned long thread
    cdef list flush_queue
    cdef list unflushed
    cdef Py_ssize_t unflushed_from
    cdef double flush_queued_at
    cdef Py_ssize_t judged
    cdef double judged_at
    cdef int cautious
    cdef bint late
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
    @cython.locals(channel=Channel, flush_queue=list, index=Py_ssize_t)
    cpdef flush(self)
    @cython.locals(unflushed=list)
    cdef _put_back(self)
