cimport cython

from edgeloop.kernel cimport calls
from edgeloop.core.reactor cimport Channel, Reactor
from edgeloop.core.handles cimport Handle
from edgeloop.core.schedule cimport Scheduler


cdef class Watch(Channel):
    cdef Scheduler _loop
    cdef public int number
    cdef public object fileobj
    cdef readonly Handle reader
    cdef readonly Handle writer
    cdef readonly object owner
    cdef object _receiving
    cdef object _receive
    cdef tuple _receive_arguments
    cdef Py_ssize_t _full
    cdef str _message
    cdef int _short_reads
    cdef object _sending
    cdef object _send
    cdef unsigned long long _drained_in
    cdef int _turns_kept
    cdef int _turns_unverified
    cdef on_ready(self)
    cdef after_callbacks(self)
    cpdef bint waits(self)
    cpdef bint is_empty(self, sock)
    cpdef receive(self, sock, call, tuple args, Py_ssize_t full, str message)
    cpdef send(self, sock, call)
    cpdef leave(self, done)
    cpdef lose(self, int error)
    cdef _keep(self, sock)
    @cython.locals(reactor=Reactor, closed=bint)
    cdef _verify_registration(self)
    cdef _received(self, done)
    cdef _sent(self, done)
    cdef on_closed(self)
    @cython.locals(count=Py_ssize_t, conclusive=bint)
    cdef _receive_again(self)
    cdef _receive_message(self)
    cdef _send_again(self)
    cdef _forget_soon(self)
    cdef _give_up(self)
    @cython.locals(reactor=Reactor, fd=int)
    cpdef forget(self)
    cdef int _interest(self)
    cdef _update_registration(self)
    cdef _narrow_registration(self)
