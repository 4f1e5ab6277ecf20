cimport cython

from edgeloop.kernel cimport calls, interpreter, sockets
from edgeloop.core.channel cimport Channel
from edgeloop.core.schedule cimport Scheduler
from edgeloop.core.wheel cimport Member
from edgeloop.transports cimport base
from edgeloop.transports.stream_writing cimport StreamWriteHalf
from edgeloop.watching.figures cimport CountsPointer

cdef Py_ssize_t LARGE_READ
cdef int NOTHING
cdef int FLAGGED
cdef int STREAM
cdef object _READ_INTO
cdef object _END_OF_STREAM


cdef class StreamTransport(StreamWriteHalf):
    cdef dict __dict__
    cdef object _server
    cdef object _transport_socket
    cdef object _peername
    cdef object _sockname
    cdef bint _buffered
    cdef bint _large_read
    cdef readonly long long bytes_received
    cdef public long long bytes_before
    cdef Member _watched
    cdef dict _extra
    cdef on_ready(self)
    @cython.locals(fd=int, more=bint, data=bytes, size=Py_ssize_t, counts=CountsPointer)
    cdef _read(self)
    @cython.locals(count=Py_ssize_t)
    cdef _read_some(self, int fd, Py_ssize_t limit)
    cdef _fill(self, int fd, buffer, Py_ssize_t limit)
    cdef _read_on(self)
    cdef _read_all(self)
    cdef _rearm_at_urgent_mark(self)
    @cython.locals(fd=int, more=bint, count=Py_ssize_t, size=Py_ssize_t, counts=CountsPointer)
    cpdef _read_into(self)
    cpdef _end_of_stream(self)
    cpdef be_watched(self, Member watched)
    @cython.locals(counts=CountsPointer)
    cdef _count_end(self, exc)
    cdef _before_release(self)
    cdef _on_release(self)
    cdef _give_back(self, int fd)
