cimport cython

from edgeloop.kernel cimport calls, interpreter
from edgeloop.core.handles cimport Handle, HandleSource, SharedHandle, TimerHandle
from edgeloop.core.observer cimport Attached, Observer
from edgeloop.core.timer_heap cimport TimerHeap
from edgeloop.core.reactor cimport Reactor
from edgeloop.watching.figures cimport CountsPointer, Figures


cdef int FINISHED
cdef int IN_READY_QUEUE
cdef int IN_FIRED
cdef bint _HANDLES_ARE_SHARED


cdef class Scheduler(HandleSource):
    cdef readonly Reactor reactor
    cdef public list _ready
    cdef list _fired
    cdef TimerHeap _timers
    cdef list _new_timers
    cdef int _unfinished
    cdef list _interrupted
    cdef Py_ssize_t _interrupted_at
    cdef double _turn_time
    cdef list _spare_list
    cdef object _inbox
    cdef bint _inbox_dirty
    cdef public bint _closed
    cdef public bint _stopping
    cdef public object _thread_id
    cdef long long _version
    cdef bint _replaced
    cdef bint _own_clock
    cdef bint _own_call_at
    cdef bint _own_run_once
    cdef long long _handle_version
    cdef object _handle_run
    cdef Observer _observer
    cdef public double slow_callback_duration
    cdef object __weakref__
    cdef double _now(self) except? -1
    cdef _find_overrides(self)
    @cython.locals(observer=Observer)
    cdef _find_handle_run(self)
    @cython.locals(added=Attached, observer=Observer)
    cpdef add_instrument(self, instrument)
    @cython.locals(observer=Observer)
    cpdef remove_instrument(self, instrument)
    @cython.locals(former=Observer)
    cpdef _observe(self, Observer observer)
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
    @cython.locals(rest=list)
    cdef _resume_turn(self)
    cpdef _finish_turn(self)
    cdef _collect_inbox(self)
    cdef _report_within(self, context, details)
    @cython.locals(handle=Handle, counts=CountsPointer, completed=bint)
    cdef _run_only(self)
    @cython.locals(handle=Handle, batch=list, following=list, size=Py_ssize_t,
                   done=Py_ssize_t, place=Py_ssize_t, completed=bint, counts=CountsPointer)
    cdef _run_batch(self, bint fired)
    cdef _warn_if_slow(self, Handle handle, double elapsed)
    @cython.locals(reactor=Reactor, waits=bint, due=bint, now=double, ready=Py_ssize_t, counts=CountsPointer)
    cdef _turn(self)
