cimport cython

from edgeloop.kernel cimport calls, interpreter, sockets
from edgeloop.core.channel cimport Channel
from edgeloop.core.reactor cimport Reactor
from edgeloop.core.schedule cimport Scheduler
from edgeloop.serving.admission cimport Admission
from edgeloop.serving.deadlines cimport Deadlines
from edgeloop.transports.stream cimport StreamTransport
from edgeloop.watching.figures cimport CountsPointer

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
    cdef set _connections
    cdef Py_ssize_t _limit
    cdef bint _waits
    cdef Admission _admission
    cdef bint _counts_peers
    cdef Py_ssize_t _alarm_at
    cdef bint _suspended
    cdef readonly bint full
    cdef Py_ssize_t _accepts_left
    cdef readonly Py_ssize_t accepted
    cdef readonly Py_ssize_t high_mark
    cdef object _context
    cdef object _connect
    cdef public Deadlines deadlines
    cdef SpareDescriptor _spare_descriptor
    cdef int _family
    cdef int _short_read
    cdef double _silent_until
    cdef object _retry
    cdef _have_accepted(self)
    cdef on_ready(self)
    @cython.locals(end=double, asked=bint, again=bint, admission=Admission, counts=CountsPointer, accepts=cython.longlong)
    cdef _drain(self)
    @cython.locals(transport=StreamTransport)
    cdef _on_accepted(self, int fd, peername, protocol_factory, server)
    cdef bint _exhausted(self, exc) except -1
