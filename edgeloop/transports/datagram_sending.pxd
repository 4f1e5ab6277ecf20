cimport cython

from edgeloop cimport kernel, kernel_datagram
from edgeloop.transports.flow cimport WriteHalf


cdef class DatagramSender(WriteHalf):
    cdef readonly object _sock
    cdef int _family
    cdef object _address
    cdef bint _connected
    cdef object _retry
    cdef double _retry_seconds
    cdef _start_sending(self)
    cdef bint _sent_first(self, data, addr) except -1
    @cython.locals(done=Py_ssize_t)
    cdef _send(self)
    cdef _drop_sent(self, Py_ssize_t count)
    cdef _wait_for_room(self)
    cdef _refused(self, exc)
