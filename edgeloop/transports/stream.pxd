cimport cython

from edgeloop.kernel cimport calls, interpreter, sockets
from edgeloop.core.reactor cimport Channel
from edgeloop.core.schedule cimport Scheduler
from edgeloop.transports.stream_sending cimport StreamSender

cdef Py_ssize_t LARGE_READ
cdef int NOTHING
cdef int FLAGGED
cdef object _READ_INTO
cdef object _END_OF_STREAM


cdef class StreamTransport(StreamSender):
    cdef dict __dict__
    cdef bint _buffered
    cdef object _server
    cdef object _transport_socket
    cdef object _peername
    cdef object _sockname
    cdef int _family
    cdef public int short_read
    cdef dict _extra
    cdef readonly bint _paused
    cdef bint _eof_received
    cdef bint _large_read
    cpdef use_family(self, int family, int short_read)
    cdef _register(self)
    cdef on_ready(self)
    @cython.locals(fd=int, more=bint)
    cdef _read(self)
    cdef _read_on(self)
    cdef _read_all(self)
    cdef _rearm_at_urgent_mark(self)
    @cython.locals(fd=int, more=bint, count=Py_ssize_t, size=Py_ssize_t)
    cpdef _read_into(self)
    cpdef _end_of_stream(self)
    cdef _release(self)
    cdef _give_back(self, int fd)
