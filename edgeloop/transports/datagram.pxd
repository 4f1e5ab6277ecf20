cimport cython

from edgeloop cimport kernel, kernel_datagram
from edgeloop.reactor cimport Channel, Reactor
from edgeloop.schedule cimport Scheduler


cdef class DatagramTransport(Channel):
    cdef dict __dict__
    cdef readonly Scheduler _loop
    cdef Reactor _reactor
    cdef object _protocol
    cdef object _context
    cdef readonly object _sock
    cdef object _transport_socket
    cdef int _family
    cdef bint _has_end
    cdef object _address
    cdef object _sockname
    cdef object _peername
    cdef bint _connected
    cdef list _arrived
    cdef list _backlog
    cdef Py_ssize_t _backlog_size
    cdef Py_ssize_t _high_water
    cdef Py_ssize_t _low_water
    cdef bint _protocol_paused
    cdef bint _paused
    cdef bint _closing
    cdef int _lost
    cdef object _retry
    cdef double _retry_seconds
    cdef on_ready(self)
    @cython.locals(count=Py_ssize_t)
    cdef _receive(self)
    @cython.locals(arrived=list, done=Py_ssize_t)
    cdef _deliver(self)
    cdef bint _sent_first(self, data, addr) except -1
    cdef flush(self)
    @cython.locals(done=Py_ssize_t)
    cdef _send(self)
    cdef _drop_sent(self, Py_ssize_t count)
    cdef _wait_for_room(self)
    cdef _refused(self, exc)
    cdef _emptied(self)
    cdef _maybe_pause_protocol(self)
    cdef _maybe_resume_protocol(self)
    cpdef _force_close(self, exc)
    cpdef _fatal_error(self, exc, message)
