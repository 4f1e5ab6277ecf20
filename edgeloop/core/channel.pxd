cdef class Channel:
    cdef readonly int fd
    cdef readonly bint readable
    cdef readonly bint writable
    cdef readonly bint hangup
    cdef readonly bint urgent
    cdef bint deferred
    cdef Channel next_deferred
    cdef bint flush_queued
    cdef bint rearm_queued
    cdef Channel next_rearm
    cdef readonly bint added
    cdef int interest
    cdef unsigned long long registered_in
    cdef readonly int credit
    cdef int kind
    cdef object __weakref__
    cdef on_ready(self)
    cdef flush(self)
    cdef push(self)
    cdef after_callbacks(self)
    cdef on_closed(self)
