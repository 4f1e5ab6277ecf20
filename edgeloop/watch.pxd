cimport cython

from edgeloop cimport kernel
from edgeloop.reactor cimport Channel, Reactor
from edgeloop.schedule cimport Handle, Scheduler


cdef class Watch(Channel):
    cdef Scheduler _loop
    cdef public object fileobj
    cdef readonly Handle reader
    cdef readonly Handle writer
    cdef on_ready(self)
    cdef on_called(self)
    cdef _interest(self)
    cdef _look(self)
    cdef _look_less(self)
