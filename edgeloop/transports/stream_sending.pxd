cimport cython

from edgeloop.kernel cimport calls, interpreter, sockets
from edgeloop.transports cimport flow
from edgeloop.transports.flow cimport WriteHalf

cdef Py_ssize_t SEND_AT_ONCE
cdef Py_ssize_t LARGE_WRITE


cdef class StreamSender(WriteHalf):
    cdef object _sock
    cdef bint _eof_written
    cdef object _empty_waiter
    cdef object _sender
    cdef object _ask
    cdef bint _given
    cdef bint _sending
    cdef _start_sending(self)
    cdef int _number(self) except -1
    cdef _use_socket(self, sock)
    cdef _check_writelines(self)
    cdef _leave(self, Py_ssize_t size)
    cdef _have_resumed(self)
    @cython.locals(fd=int, count=Py_ssize_t, chunks=Py_ssize_t)
    cdef _send(self)
    cdef Py_ssize_t _sent(self, Py_ssize_t count, Py_ssize_t chunks) except -1
    cpdef make_empty_waiter(self)
    cpdef reset_empty_waiter(self)
    cpdef set_sender(self, sender)
    cpdef wait_writable(self)
