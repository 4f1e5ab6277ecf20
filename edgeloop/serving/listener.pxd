cimport cython

from edgeloop.kernel cimport calls, interpreter, sockets
from edgeloop.core.reactor cimport Channel, Reactor
from edgeloop.core.schedule cimport Scheduler
from edgeloop.transports.stream cimport StreamTransport

cdef int LISTENER


cdef class SpareDescriptor:
    cdef int _fd
    cpdef take(self)
    cpdef give_up(self)


cdef class Listener(Channel):
    cdef readonly Scheduler _loop
    cdef readonly object sock
    cdef object _protocol_factory
    cdef object _server
    cdef object _context
    cdef object _connect
    cdef SpareDescriptor _spare_descriptor
    cdef int _family
    cdef int _short_read
    cdef double _silent_until
    cdef object _retry
    cdef on_ready(self)
    @cython.locals(end=double, again=bint)
    cdef _drain(self)
    @cython.locals(transport=StreamTransport)
    cdef _on_accepted(self, int fd, peername)
    cdef bint _exhausted(self, exc) except -1
