cimport cython

from edgeloop.kernel cimport calls, interpreter
from edgeloop.core.handles cimport Handle, HandleSource, SharedHandle, TimerHandle
from edgeloop.core.observer cimport Attached, Observer
from edgeloop.core.timer_heap cimport TimerHeap
from edgeloop.core.reactor cimport Reactor


cdef bint _HANDLES_ARE_SHARED


cdef class Scheduling(HandleSource):
    cdef readonly Reactor reactor
    cdef public list _ready
    cdef list _fired
    cdef TimerHeap _timers
    cdef list _new_timers
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
    cdef object __weakref__
    cdef double _now(self) except? -1
    cdef _find_overrides(self)
    @cython.locals(added=Attached, observer=Observer)
    cpdef add_instrument(self, instrument)
    @cython.locals(observer=Observer)
    cpdef remove_instrument(self, instrument)
    @cython.locals(former=Observer)
    cpdef _observe(self, Observer observer)
    cdef _collect_inbox(self)
    cdef _report_within(self, context, details)
