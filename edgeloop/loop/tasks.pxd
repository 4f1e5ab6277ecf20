cimport cython

from edgeloop.kernel cimport interpreter
from edgeloop.core.schedule cimport Scheduler


cdef dict _task_names
cdef dict _future_names


cdef class Tasks(Scheduler):
    cdef public object _task_factory
    cdef dict _keywords

    # The attributes of the mixins that are not compiled and of EventLoop. Declared, they make no __dict__: without one the
    # interpreter finds the loop's methods without looking into the instance.
    cdef public object _default_executor
    cdef public object _executor_shut_down
    cdef public object _resolver
    cdef public object _spare_descriptor
    cdef public object _server_limits
    cdef public object _wheel
    cdef public object _signals
    cdef public object _exception_handler
    cdef public object _asyncgens
    cdef public object _clock_resolution
    cdef public object _selector
    cdef public object _origin_depth

    cdef dict _of_this_loop(self)
    cdef _task_of_factory(self, coro, dict kwargs)
