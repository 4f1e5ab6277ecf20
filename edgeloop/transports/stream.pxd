cimport cython

from edgeloop.kernel cimport calls, interpreter, sockets
from edgeloop.core.reactor cimport Channel
from edgeloop.core.schedule cimport Scheduler
from edgeloop.core.wheel cimport Member
from edgeloop.transports cimport base, rates
from edgeloop.transports.flow cimport WriteHalf
from edgeloop.transports.rates cimport Rates

cdef Py_ssize_t LARGE_READ
cdef Py_ssize_t SEND_AT_ONCE
cdef Py_ssize_t LARGE_WRITE
cdef int NOTHING
cdef int FLAGGED
cdef object _READ_INTO
cdef object _END_OF_STREAM


cdef class StreamTransport(WriteHalf):
    cdef dict __dict__
    cdef object _server
    cdef object _sock
    cdef bint _given
    cdef object _transport_socket
    cdef object _peername
    cdef object _sockname
    cdef int _family
    cdef public int short_read
    cdef bint _buffered
    cdef bint _eof_received
    cdef bint _large_read
    cdef bint _eof_written
    cdef object _empty_waiter
    cdef object _sender
    cdef readonly long long bytes_received
    cdef public long long bytes_before
    cdef Rates _rates
    cdef Member _watched
    cdef dict _extra
    cpdef use_family(self, int family, int short_read)
    cdef _use_socket(self, sock)
    cdef on_ready(self)
    @cython.locals(fd=int, more=bint, size=Py_ssize_t)
    cdef _read(self)
    @cython.locals(count=Py_ssize_t)
    cdef _read_some(self, int fd, Py_ssize_t limit)
    cdef _fill(self, int fd, buffer, Py_ssize_t limit)
    cdef _read_on(self)
    cdef _read_all(self)
    cdef _rearm_at_urgent_mark(self)
    @cython.locals(fd=int, more=bint, count=Py_ssize_t, size=Py_ssize_t)
    cpdef _read_into(self)
    cpdef _end_of_stream(self)
    cdef _check_writelines(self)
    cdef _leave(self, Py_ssize_t size)
    cdef _have_resumed(self)
    @cython.locals(fd=int, count=Py_ssize_t, chunks=Py_ssize_t)
    cdef _send_write_buffer(self)
    @cython.locals(size=Py_ssize_t, count=Py_ssize_t)
    cdef bint _send_some(self, int fd) except -1
    cdef _on_drained(self)
    cpdef make_empty_waiter(self)
    cpdef reset_empty_waiter(self)
    cpdef set_sender(self, sender)
    cpdef count_sent(self, Py_ssize_t count)
    cpdef wait_writable(self)
    cpdef be_watched(self, Member watched)
    cpdef use_rates(self, Rates rates)
    cpdef Py_ssize_t may_send(self, Py_ssize_t size) except -1
    cpdef go_on(self)
    cdef _before_release(self)
    cdef _on_release(self)
    cdef _give_back(self, int fd)
