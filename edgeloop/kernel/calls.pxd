from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno

cdef enum:
    BUFFER_SIZE = 262144
    VECTOR_SIZE = 1024

cdef int EPOLL_INPUT
cdef int EPOLL_READ
cdef int EPOLL_WRITE
cdef int EPOLL_HANGUP
cdef int EPOLL_URGENT
cdef int EPOLL_EDGE
cdef int INTEREST_READ
cdef int INTEREST_WRITE
cdef int INTEREST_URGENT
cdef int INTEREST_STREAM
cdef int INTEREST_HANGUP
cdef Py_ssize_t READ_SIZE
cdef Py_ssize_t MAX_CHUNKS

cpdef double now() noexcept
cpdef close(int fd)


cdef inline bint again() except -1:
    """After a system call that failed: whether to repeat it, since a signal cut it short; not if it would block."""
    if errno == EAGAIN:
        return False
    if errno != EINTR:
        PyErr_SetFromErrno(OSError)
    PyErr_CheckSignals()
    return True
