cimport cython

from edgeloop.core.handles cimport EventHandle, Handle
from edgeloop.core.channel cimport Channel


cdef int BEFORE_WAIT
cdef int AFTER_WAIT
cdef int BEFORE_CALLBACK
cdef int AFTER_CALLBACK
cdef int CONNECTION_MADE
cdef int CONNECTION_LOST
cdef int ACCEPT_FAILED


cdef class Attached:
    cdef tuple methods
    cdef object instrument
    cdef bint removed


cdef class Observer:
    cdef object _loop
    cdef readonly tuple attached
    cdef public bint run_is_replaced
    cdef bint is_needed(self)
    cdef add(self, Attached added)
    @cython.locals(entry=Attached)
    cdef remove(self, instrument)
    @cython.locals(entry=Attached)
    cdef clear(self)
    @cython.locals(entry=Attached)
    cdef Attached _find(self, instrument)
    cdef _detach(self, Attached entry)
    @cython.locals(handle=EventHandle, attached=tuple)
    cpdef dispatch(self, Channel channel)
    cdef before_callback(self, tuple attached, Handle handle)
    cdef after_callback(self, tuple attached, Handle handle)
    cdef before_wait(self, tuple attached, double timeout)
    cdef after_wait(self, tuple attached, int events)
    cpdef connection_made(self, transport)
    cpdef connection_lost(self, transport, exc)
    cpdef accept_failed(self, sock, exc)
    @cython.locals(entry=Attached)
    cdef _tell(self, tuple attached, int which, tuple args)
    cdef _failed(self, Attached entry, name, exc)
