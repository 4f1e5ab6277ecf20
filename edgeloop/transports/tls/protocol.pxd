cimport cython

from edgeloop.transports.tls cimport state
from edgeloop.transports.tls.reading cimport TLSReader


cdef class TLSProtocol(TLSReader):
    cdef object _handshake_timeout
    cdef object _shutdown_timeout
    cdef object _waiter
    cdef bint _server_side
    cdef object _server
    cdef object _handshake_limiter
    cdef dict _extra
    cdef bint _connected
    cdef object _exception
    cdef object _timer
    cdef double _handshake_start
    cdef Py_ssize_t _unsent_at_timer
    cdef Py_ssize_t _discarded
    cdef _advance(self)
    cdef _go_on_closing(self)
    cdef bint _admitted(self) except -1
    cdef _handshake(self)
    cdef _handshake_failed(self, exc)
    cdef _wake_waiter(self, exc)
    cpdef close(self)
    cdef _send_close_notify(self)
    cdef _await_close_notify(self)
    cdef _close_lower(self)
    cdef _start_shutdown_timer(self)
    cdef Py_ssize_t _unsent(self) except -1
    cdef _cancel_timer(self)
    cdef _fatal_error(self, exc, message=*)
