cimport cython

from edgeloop.kernel cimport calls, interpreter
from edgeloop.core.reactor cimport Reactor
from edgeloop.core.schedule cimport Scheduler
from edgeloop.transports cimport base
from edgeloop.transports.base cimport BaseTransport


@cython.locals(size=Py_ssize_t, done=Py_ssize_t)
cdef Py_ssize_t drop_sent(list write_buffer, Py_ssize_t count) except -1


cdef class WriteHalf(BaseTransport):
    cdef list _write_buffer
    cdef Py_ssize_t _write_buffer_size
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _low_water
    cdef bint _protocol_paused
    cdef bint _sending
    cdef Py_ssize_t _lost_writes
    cdef readonly long long bytes_sent
    cdef _start(self, Scheduler loop, context, int interest)
    cdef _send(self)
    cdef _send_write_buffer(self)
    cdef Py_ssize_t _drop_sent(self, Py_ssize_t count, Py_ssize_t chunks) except -1
    cdef _wait_writable(self)
    cdef _on_drained(self)
    cdef _use_room(self)
    cdef flush(self)
    cdef push(self)
    cdef _maybe_pause_protocol(self)
    cdef _maybe_resume_protocol(self)
    cdef _drop_unsent(self)
    cdef _count_lost_write(self, message)
