cimport cython

from edgeloop.kernel cimport calls, interpreter, sockets
from edgeloop.transports cimport base, rates
from edgeloop.transports.flow cimport WriteHalf
from edgeloop.transports.rates cimport Rates
from edgeloop.watching.figures cimport CountsPointer

cdef Py_ssize_t SEND_AT_ONCE
cdef Py_ssize_t LARGE_WRITE
cdef int NOTHING


cdef class StreamWriteHalf(WriteHalf):
    cdef _start_writing(self, sock)
    cdef object _sock
    cdef bint _given
    cdef int _family
    cdef public int short_read
    cdef bint _eof_written
    cdef bint _eof_received
    cdef bint _aborted
    cdef object _empty_waiter
    cdef object _sender
    cdef Rates _rates
    cpdef use_family(self, int family, int short_read)
    cdef _use_socket(self, sock)
    cdef _check_writelines(self)
    cdef _leave(self, Py_ssize_t size)
    cdef _have_resumed(self)
    @cython.locals(fd=int, count=Py_ssize_t, chunks=Py_ssize_t, counts=CountsPointer)
    cdef _send_write_buffer(self)
    @cython.locals(size=Py_ssize_t, count=Py_ssize_t)
    cdef bint _send_some(self, int fd) except -1
    cdef _on_drained(self)
    cpdef make_empty_waiter(self)
    cpdef reset_empty_waiter(self)
    cpdef set_sender(self, sender)
    cpdef count_sent(self, Py_ssize_t count)
    cpdef wait_writable(self)
    cpdef use_rates(self, Rates rates)
    cpdef Py_ssize_t may_send(self, Py_ssize_t size) except -1
    cpdef go_on(self)
