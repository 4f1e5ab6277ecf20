cimport cython

from edgeloop.kernel cimport calls, interpreter
from edgeloop.core.handles cimport Handle, SharedHandle, TimerHandle
from edgeloop.core.observer cimport Observer
from edgeloop.core.timer_heap cimport TimerHeap
from edgeloop.core.reactor cimport Reactor
from edgeloop.core.scheduling cimport Scheduling
from edgeloop.watching.figures cimport CountsPointer, Figures


cdef int FINISHED
cdef int IN_READY_QUEUE
cdef int IN_FIRED


cdef class Scheduler(Scheduling):
    cdef int _unfinished
    cdef list _interrupted
    cdef Py_ssize_t _interrupted_at
    cdef double _turn_time
    cdef list _spare_list
    cdef public double slow_callback_duration
    cdef _find_overrides(self)
    @cython.locals(observer=Observer)
    cdef _find_handle_run(self)
    @cython.locals(attached=tuple, timeout=double)
    cdef _wait_observed(self, Observer observer)
    @cython.locals(observer=Observer, attached=tuple, given=Handle)
    cdef _run_attended(self, Handle handle)
    @cython.locals(start=double)
    cdef _run_timed(self, Handle handle, bint by_asyncio)
    @cython.locals(timer=TimerHandle, timeout=double)
    cdef double _wait_time(self) except? -2
    @cython.locals(timer=TimerHandle, timers=TimerHeap, cancelled=list)
    cdef bint _any_is_due(self, double now) except -1
    @cython.locals(timer=TimerHandle, timers=TimerHeap, counts=CountsPointer)
    cdef _collect_due(self, double now)
    @cython.locals(timer=TimerHandle, new_timers=list, size=Py_ssize_t, done=Py_ssize_t)
    cdef _sort_new_timers(self)
    @cython.locals(rest=list, interrupted=list)
    cdef _resume_turn(self)
    @cython.locals(reactor=Reactor)
    cpdef _finish_turn(self)
    @cython.locals(handle=Handle, counts=CountsPointer, completed=bint)
    cdef _run_only(self)
    @cython.locals(handle=Handle, batch=list, following=list, interrupted=list, size=Py_ssize_t,
                   done=Py_ssize_t, place=Py_ssize_t, completed=bint, counts=CountsPointer)
    cdef _run_batch(self, bint fired)
    cdef _warn_if_slow(self, Handle handle, double elapsed)
    @cython.locals(reactor=Reactor, waits=bint, due=bint, now=double, ready=Py_ssize_t, counts=CountsPointer)
    cdef _turn(self)
