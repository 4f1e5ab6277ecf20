cimport cython

from edgeloop cimport kernel
from edgeloop.reactor cimport Channel, Reactor
from edgeloop.schedule cimport Scheduler


cdef class StreamTransport(Channel):
    cdef dict __dict__
    cdef readonly Scheduler _loop
    cdef Reactor _reactor
    cdef object _protocol
    cdef bint _buffered
    cdef object _context
    cdef object _server
    cdef object _sock
    cdef object _transport_socket
    cdef object _peername
    cdef object _sockname
    cdef dict _extra
    cdef list _backlog
    cdef Py_ssize_t _backlog_size
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _low_water
    cdef bint _protocol_paused
    cdef readonly bint _paused
    cdef bint _ended
    cdef bint _closing
    cdef bint _eof_written
    cdef int _lost
    cdef object _empty_waiter
    cdef object _sender
    cdef _register(self)
    cdef on_ready(self)
    cdef flush(self)
    cdef _read(self)
    @cython.locals(count=Py_ssize_t)
    cdef _read_into(self)
    cdef _end_of_stream(self)
    cdef _append(self, data)
    @cython.locals(count=Py_ssize_t, chunks=Py_ssize_t)
    cdef _send(self)
    @cython.locals(size=Py_ssize_t, done=Py_ssize_t)
    cdef Py_ssize_t _drop_sent(self, Py_ssize_t count) except -1
    cdef _emptied(self)
    cdef _leave(self, Py_ssize_t size)
    cpdef make_empty_waiter(self)
    cpdef reset_empty_waiter(self)
    cpdef set_sender(self, sender)
    cpdef wait_for_room(self)
    cdef _maybe_pause_protocol(self)
    cdef _maybe_resume_protocol(self)
    cpdef _force_close(self, exc)
    cpdef _fatal_error(self, exc, message=*)
