cdef class Watch:
    cdef int number
    cdef void* _guard


cdef class Pulse:
    cdef public bint watched
    cdef readonly double tick
    cdef bint _by_counter
    cdef public bint reported
    cdef public double busy_since
    cdef public double ended_at
    cdef public double threshold
    cdef public double watched_since
    cdef public int tid
    cdef int _number
    cdef public unsigned long thread
    cdef public object watchdog
    cdef readonly bint closed
    cdef readonly double late_since
    cdef readonly double stopped
    cdef readonly double lock_wait
    cdef readonly bint printed
    cdef readonly str state
    cdef readonly int system_call
    cdef readonly double cpu
    cdef readonly double delay
    cdef readonly double wall
    cdef readonly double collecting
    cdef readonly double collected
    cdef double _collecting_since
    cdef double _collected_in
    cdef double _resumed_at
    cdef double _base_since
    cdef double _base_at
    cdef double _base_cpu
    cdef double _base_delay
    cdef char _state
    cdef void* _sleeper
    cdef double _clock(self) noexcept nogil
    cpdef begin_run(self)
    cpdef end_run(self)
    cpdef end_turn(self)
    cdef int _sleep(self, int number, double known, double limit, double until, void* place) noexcept nogil
    cdef void _sample(self, double now) noexcept nogil
