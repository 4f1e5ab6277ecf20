cimport cython

from edgeloop.kernel cimport calls, datagrams, interpreter, segments
from edgeloop.core cimport gathering
from edgeloop.transports cimport base
from edgeloop.transports.flow cimport WriteHalf

cdef Py_ssize_t SEND_AT_ONCE
cdef int EARNED
cdef int FORFEITED
cdef Py_ssize_t _HEADER_SIZE


cdef class DatagramWriteHalf(WriteHalf):
    cdef _start_sending(self, sock, address, bint gso)
    cdef readonly object _sock
    cdef int _family
    cdef object _address
    cdef bint _connected
    cdef object _peername
    cdef object _retry
    cdef double _retry_seconds
    cdef bint _answering
    cdef unsigned long long _turn
    cdef double _gathered_at
    cdef bint _gso
    cdef bint _waits_for_room(self) except -1
    cdef bint _may_gather(self) except -1
    cdef _keep(self, bytes data, addr)
    cdef _gather(self)
    cdef _send_first(self, bytes data, addr)
    cdef _send_overdue(self)
    @cython.locals(done=Py_ssize_t, refused=Py_ssize_t)
    cdef _send_write_buffer(self)
    cdef tuple _send_messages(self, Py_ssize_t first)
    cdef bint _is_closed_by_owner(self) except -1
    @cython.locals(size=Py_ssize_t, left=Py_ssize_t)
    cdef _drop_messages(self, Py_ssize_t count, Py_ssize_t refused)
    cdef _wait_writable(self)
    cdef _refused(self, exc)
