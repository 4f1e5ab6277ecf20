cimport cython

from edgeloop.kernel cimport interpreter
from edgeloop.core.schedule cimport Scheduler


cdef dict _task_names
cdef dict _future_names


cdef class Tasks(Scheduler):
    cdef public object _task_factory
    cdef dict _keywords

    # What the mixins that are not compiled keep of a loop, and the loop itself. It is here lest it should make a __dict__
    # for the loop: without one, the interpreter finds the loop's methods without a look at what the instance has.
    cdef public object _default_executor
    cdef public object _executor_shut_down
    cdef public object _resolver
    cdef public object _resolver_forks
    cdef public object _spare_descriptor
    cdef public object _signal_handlers
    cdef public object _signal_pipe
    cdef public object _signal_pipe_pid
    cdef public object _has_wakeup_fd
    cdef public object _signals_handled
    cdef public object _exception_handler
    cdef public object _asyncgens
    cdef public object _asyncgens_shut_down
    cdef public object _clock_resolution
    cdef public object _selector
    cdef public object _outer_hooks
    cdef public object _origin_depth

    cdef dict _of_this_loop(self)
    cdef _task_of_factory(self, coro, dict kwargs)
