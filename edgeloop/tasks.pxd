cimport cython

from edgeloop cimport kernel
from edgeloop.schedule cimport Scheduler


cdef dict _task_names
cdef dict _future_names


cdef class Tasks(Scheduler):
    cdef public object _task_factory
    cdef dict _keywords
    cdef dict _of_this_loop(self)
    cdef _task_of_factory(self, coro, dict kwargs)
