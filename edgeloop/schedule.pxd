cimport cython

from edgeloop cimport kernel
from edgeloop.kernel_timers cimport TimerHeap
from edgeloop.reactor cimport Reactor


cdef class Handle:
    cdef public object _callback
    cdef public tuple _args
    cdef public object _context
    cdef public Scheduler _loop
    cdef public bint _cancelled
    cdef public object _source_traceback
    cdef public object _repr
    cdef object __weakref__
    cpdef cancel(self)
    cpdef report(self, exc)
    cdef settle(self)


cdef class TimerHandle(Handle):
    cdef public double _when
    cdef public bint _scheduled
    cpdef cancel(self)


cdef class Scheduler:
    cdef readonly Reactor reactor
    cdef public list _ready
    cdef list _news
    cdef TimerHeap _timers
    cdef list _new_timers
    cdef list _emptied
    cdef Handle _spare
    cdef TimerHandle _spare_timer
    cdef Py_ssize_t _spares
    cdef Py_ssize_t _spare_timers
    cdef object _inbox
    cdef bint _posted
    cdef public bint _closed
    cdef public bint _stopping
    cdef public bint _debug
    cdef public object _thread_id
    cdef bint _own_clock
    cdef public dict _attributes
    cdef Py_ssize_t _cancelled_timers
    cdef public double slow_callback_duration
    cdef object __weakref__
    cdef double _now(self) except -1
    @cython.locals(handle=Handle)
    cdef Handle _handle(self, callback, tuple args, context)
    @cython.locals(timer=TimerHandle)
    cdef TimerHandle _timer(self, double when, callback, tuple args, context)
    @cython.locals(timer=TimerHandle)
    cdef double _wait_time(self)
    @cython.locals(timer=TimerHandle, timers=TimerHeap, now=double)
    cdef _collect_due(self)
    @cython.locals(timer=TimerHandle, new_timers=list, place=Py_ssize_t)
    cdef _sort_new_timers(self)
    cdef _collect_inbox(self)
    cdef _keep(self, Handle handle)
    @cython.locals(handle=Handle, start=double, over=bint)
    cdef _run_only(self)
    @cython.locals(handle=Handle, batch=list, following=list, size=Py_ssize_t,
                   done=Py_ssize_t, start=double, over=bint)
    cdef _run_batch(self, bint news)
    cdef _warn_if_slow(self, Handle handle, double elapsed)
    @cython.locals(reactor=Reactor)
    cdef _turn(self)
    cdef _timer_cancelled(self)
