# The events of one wait. The kernel keeps what does not fit for the next one, and returns the longest waiting first.
cdef enum:
    MAX_EVENTS = 1024


cdef class Poller:
    cdef int _fd
    cdef int _waker
    cdef int _waking
    cdef bint _coarse
    cdef double _slack
    cdef int _size
    cdef void* _events
    cdef int* fds
    cdef int* masks
    cdef int _control(self, int op, int fd, int mask) noexcept
    cdef int _ensure(self, int op, int fd, int mask) except -1
    cpdef add(self, int fd, int mask)
    cpdef bint adopt(self, int fd, int mask) except -1
    cpdef modify(self, int fd, int mask)
    cpdef refresh(self, int fd, int mask)
    cpdef remove(self, int fd)
    cpdef int wait(self, double timeout) except -1
    cpdef wake(self)
    cpdef close(self)
    cdef void _give_back(self) noexcept
