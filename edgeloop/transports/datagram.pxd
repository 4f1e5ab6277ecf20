cimport cython

from edgeloop.kernel cimport calls, datagrams, interpreter
from edgeloop.core cimport reactor
from edgeloop.core.reactor cimport Channel
from edgeloop.core.schedule cimport Scheduler
from edgeloop.transports cimport base
from edgeloop.transports.flow cimport WriteHalf

cdef Py_ssize_t SEND_AT_ONCE
cdef int EARNED
cdef int DATAGRAM
cdef int FORFEITED
cdef Py_ssize_t _HEADER_SIZE


cdef class DatagramTransport(WriteHalf):
    cdef dict __dict__
    cdef readonly object _sock
    cdef int _family
    cdef object _address
    cdef bint _connected
    cdef object _transport_socket
    cdef bint _has_end
    cdef bint _certain
    cdef object _sockname
    cdef object _peername
    cdef list _arrived
    cdef object _retry
    cdef double _retry_seconds
    cdef bint _answering
    cdef unsigned long long _turn
    cdef double _gathered_at
    cdef bint _gso
    cdef bint _gro
    cdef bint _batched
    cdef Py_ssize_t _batch_limit
    cdef bint _waits_for_room(self) except -1
    cdef bint _has_input(self) except -1
    cdef on_ready(self)
    @cython.locals(count=Py_ssize_t, emptied=bint)
    cdef _receive(self)
    @cython.locals(arrived=list, done=Py_ssize_t, end=double)
    cpdef _deliver(self)
    @cython.locals(arrived=list, together=list, done=Py_ssize_t, last=Py_ssize_t, end=double, began=double, now=double)
    cdef _deliver_together(self)
    cdef _after_delivery(self, list arrived, Py_ssize_t done)
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
    cdef _before_release(self)
    cdef _on_release(self)
    cdef _give_back(self, int fd)
