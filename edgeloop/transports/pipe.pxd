cimport cython

from edgeloop.kernel cimport calls, interpreter, pipes
from edgeloop.core.reactor cimport Channel, Reactor
from edgeloop.core.schedule cimport Scheduler


cdef class PipeTransport(Channel):
    cdef dict __dict__
    cdef public object _pipe
    cdef object _owner
    cdef bint _duplicated
    cdef readonly Scheduler _loop
    cdef Reactor _reactor
    cdef dict _extra
    cdef object _protocol
    cdef object _context
    cdef bint _device
    cdef bint _fifo
    cdef bint _stream
    cdef bint _closing
    cdef bint _lost
    cdef _watch(self)
    cdef _register(self)
    cdef _check_owner(self)
    cdef _lose(self, exc)
    cdef _fatal_error(self, exc, message)
    cdef bint _is_ordinary(self, exc) except -1
    cdef _report(self, exc, message)
    cdef _release(self)
    cdef _state(self, bint polling)


cdef class ReadPipeTransport(PipeTransport):
    cdef bint _paused
    cdef _register(self)
    cdef on_ready(self)
    @cython.locals(emptied=bint)
    cdef _read(self)
    cdef bint _is_emptied_by(self, Py_ssize_t size) except -1
    cdef bint _is_ordinary(self, exc) except -1
