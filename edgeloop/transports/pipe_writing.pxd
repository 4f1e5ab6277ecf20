cimport cython

from edgeloop.kernel cimport calls, interpreter, pipes
from edgeloop.core.reactor cimport Channel, Reactor
from edgeloop.core.schedule cimport Scheduler
from edgeloop.transports cimport flow
from edgeloop.transports.pipe cimport PipeTransport


cdef class WritePipeTransport(PipeTransport):
    cdef list _write_buffer
    cdef Py_ssize_t _write_buffer_size
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _low_water
    cdef bint _protocol_paused
    cdef Py_ssize_t _dropped_writes
    cdef bint _sending
    cdef _register(self)
    cdef on_ready(self)
    cdef _reader_gone(self)
    cdef flush(self)
    @cython.locals(count=Py_ssize_t)
    cdef _send(self)
    cdef _wait_writable(self)
    cdef _drop_write_buffer(self)
    cdef _count_dropped_write(self)
    cdef _maybe_pause_protocol(self)
    cdef _maybe_resume_protocol(self)
    cdef _force_close(self, exc)
