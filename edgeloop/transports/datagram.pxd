cimport cython

from edgeloop.kernel cimport calls, datagrams, interpreter, segments
from edgeloop.core.channel cimport Channel
from edgeloop.core.schedule cimport Scheduler
from edgeloop.transports cimport base
from edgeloop.transports.datagram_writing cimport DatagramWriteHalf

cdef int DATAGRAM


cdef class DatagramTransport(DatagramWriteHalf):
    cdef dict __dict__
    cdef object _transport_socket
    cdef bint _has_end
    cdef bint _certain
    cdef object _sockname
    cdef list _arrived
    cdef bint _gro
    cdef bint _batched
    cdef Py_ssize_t _batch_limit
    cdef bint _has_input(self) except -1
    cdef on_ready(self)
    @cython.locals(count=Py_ssize_t, emptied=bint)
    cdef _receive(self)
    @cython.locals(arrived=list, done=Py_ssize_t, end=double)
    cpdef _deliver(self)
    @cython.locals(arrived=list, together=list, done=Py_ssize_t, last=Py_ssize_t, end=double, began=double, now=double)
    cdef _deliver_together(self)
    cdef _after_delivery(self, list arrived, Py_ssize_t done)
    cdef _before_release(self)
    cdef _on_release(self)
    cdef _give_back(self, int fd)
