cimport cython

from edgeloop.kernel cimport interpreter


cdef class Handle:
    cdef public object _callback
    cdef public tuple _args
    cdef public object _context
    cdef public HandleSource _loop
    cdef public bint _cancelled
    cdef public object _source_traceback
    cdef public object _repr
    cdef object __weakref__
    @cython.locals(handle=Handle, args=tuple)
    cpdef cancel(self)
    cpdef report(self, exc)
    cpdef Handle given(self)
    cpdef run_by_asyncio(self)
    cdef record_source(self)


cdef class SharedHandle(Handle):
    cdef object _lock
    cpdef cancel(self)
    cpdef run_by_asyncio(self)


cdef class EventHandle(Handle):
    pass


cdef class TimerHandle(Handle):
    cdef public double _when
    cdef public bint _scheduled
    cpdef cancel(self)


cdef class HandleSource:
    cdef public bint _debug
    cdef Py_ssize_t _cancelled_timers
    cdef list _freelist
    cdef list _timer_freelist
    cdef Py_ssize_t _freelist_limit
    cdef Py_ssize_t _freelist_size
    cdef Py_ssize_t _timer_freelist_size
    @cython.locals(handle=Handle)
    cdef Handle _handle(self, callback, tuple args, context)
    @cython.locals(timer=TimerHandle)
    cdef TimerHandle _timer(self, double when, callback, tuple args, context)
    @cython.locals(handle=EventHandle)
    cpdef EventHandle _event_handle(self, callback, tuple args)
    cdef _keep(self, Handle handle)
    cdef _drop_freelists(self)
    cdef _timer_cancelled(self)
