cimport cython

from edgeloop.kernel cimport calls, datagrams, interpreter
from edgeloop.transports.datagram_sending cimport DatagramSender


cdef class DatagramTransport(DatagramSender):
    cdef dict __dict__
    cdef object _transport_socket
    cdef bint _has_end
    cdef bint _certain
    cdef object _sockname
    cdef object _peername
    cdef list _arrived
    cdef bint _paused
    cdef _register(self)
    cdef on_ready(self)
    @cython.locals(count=Py_ssize_t)
    cdef _receive(self)
    @cython.locals(arrived=list, done=Py_ssize_t)
    cpdef _deliver(self)
    cdef _release(self)
