cdef class TimerHeap:
    cdef readonly Py_ssize_t size
    cdef list _timers
    cdef double* _whens
    cdef unsigned long long* _numbers
    cdef Py_ssize_t _capacity
    cdef unsigned long long _count
    cpdef push(self, double when, timer)
    cpdef first(self)
    cpdef double first_when(self) except? -1
    cpdef pop(self)
    cpdef pop_into(self, list items)
    cpdef list timers(self)
    cpdef list purge(self)
    cpdef clear(self)
    cdef int _grow(self) except -1
    cdef void _rise(self, Py_ssize_t place) noexcept
    cdef void _sink(self, Py_ssize_t place) noexcept
