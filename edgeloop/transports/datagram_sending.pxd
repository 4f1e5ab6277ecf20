cimport cython

from edgeloop.kernel cimport calls, datagrams, interpreter, pipes
from edgeloop.core.reactor cimport Reactor
from edgeloop.transports.flow cimport WriteHalf

cdef Py_ssize_t SEND_AT_ONCE
cdef double LONGEST_WAIT
cdef double LATE
cdef int EARNED
cdef int FORFEITED
cdef Py_ssize_t _HEADER_SIZE


cdef class DatagramSender(WriteHalf):
    cdef readonly object _sock
    cdef int _family
    cdef object _address
    cdef bint _connected
    cdef bint _given
    cdef object _retry
    cdef double _retry_seconds
    cdef bint _answering
    cdef bint _sending
    cdef int _trust
    cdef unsigned long long _turn
    cdef double _gathered_at
    cdef _start_sending(self)
    @cython.locals(reactor=Reactor)
    cdef bint _may_gather(self) except -1
    cdef _keep(self, bytes data, addr)
    cdef _gather(self)
    cdef _check_owner(self)
    cdef _send_first(self, bytes data, addr)
    cdef _send_gathered(self)
    cdef _send_overdue(self)
    @cython.locals(done=Py_ssize_t, write_buffer=list)
    cdef _send(self)
    cdef bint _is_closed_by_owner(self) except -1
    @cython.locals(size=Py_ssize_t, left=Py_ssize_t)
    cdef _drop_sent(self, Py_ssize_t count)
    cdef _wait_writable(self)
    cdef _refused(self, exc)
