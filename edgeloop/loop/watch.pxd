cimport cython

from edgeloop.kernel cimport calls
from edgeloop.core.handles cimport Handle
from edgeloop.core.reactor cimport Reactor
from edgeloop.core.schedule cimport Scheduler
from edgeloop.loop cimport registration
from edgeloop.loop.registration cimport Registration


cpdef Py_ssize_t byte_count(result) except -1


cdef class Watch(Registration):
    cdef public object fileobj
    cdef readonly Handle reader
    cdef readonly Handle writer
    cdef object _receiving
    cdef object _receive
    cdef tuple _receive_arguments
    cdef Py_ssize_t _full
    cdef str _message
    cdef object _sending
    cdef object _send
    cdef unsigned long long _drained_in
    cdef on_ready(self)
    cdef after_callbacks(self)
    cpdef bint waits(self)
    cpdef bint is_empty(self, sock)
    cpdef receive(self, sock, call, tuple args, Py_ssize_t full, str message)
    cpdef send(self, sock, call)
    cpdef leave(self, done)
    cpdef lose(self, int error)
    cdef _received(self, done)
    cdef _sent(self, done)
    cdef on_closed(self)
    @cython.locals(count=Py_ssize_t, full=Py_ssize_t, conclusive=bint, reactor=Reactor)
    cdef _receive_again(self)
    cdef _receive_message(self)
    cdef _send_again(self)
    cpdef forget(self)
    cdef int _interest(self)
