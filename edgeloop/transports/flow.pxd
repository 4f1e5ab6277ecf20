cimport cython

from edgeloop.kernel cimport interpreter
from edgeloop.core.reactor cimport Channel, Reactor
from edgeloop.core.schedule cimport Scheduler


@cython.locals(size=Py_ssize_t, done=Py_ssize_t)
cdef Py_ssize_t drop_sent(list write_buffer, Py_ssize_t count) except -1


cdef class WriteHalf(Channel):
    cdef readonly Scheduler _loop
    cdef Reactor _reactor
    cdef object _context
    cdef object _protocol
    cdef list _write_buffer
    cdef Py_ssize_t _write_buffer_size
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _low_water
    cdef bint _protocol_paused
    cdef bint _closing
    cdef int _lost
    cdef _start_empty(self)
    cdef _send(self)
    cdef _on_drained(self)
    cdef _release(self)
    cdef flush(self)
    cdef push(self)
    cdef _maybe_pause_protocol(self)
    cdef _maybe_resume_protocol(self)
    cpdef _report(self, exc, message)
    cdef _lose_when_closing(self)
    @cython.locals(lost=bint)
    cpdef _force_close(self, exc)
    cpdef _fatal_error(self, exc, message=*)
    cdef _count_lost_write(self)
