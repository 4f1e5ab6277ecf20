"""The kernel's constants, the clock and close(2); ``calls.py`` is the same interface for the pure edition.

Same names, same return values, same exceptions. So it is with the modules beside this one: epoll, sockets, pipes, datagrams.
Together they make every system call of a turn, and only they know errno values; what a caller has to handle is either a
documented return value or an OSError.
"""

from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close as posix_close

cdef extern from "<sys/epoll.h>" nogil:
    uint32_t EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET

EPOLL_INPUT = EPOLLIN
EPOLL_READ = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR
EPOLL_WRITE = EPOLLOUT | EPOLLHUP | EPOLLERR
# PRI with it: urgent data ends a read at its mark, and what is behind that is left (rule 2).
EPOLL_HANGUP = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI
EPOLL_URGENT = EPOLLPRI
EPOLL_EDGE = <int>EPOLLET
INTEREST_READ = EPOLLIN | EPOLLRDHUP
INTEREST_WRITE = EPOLLOUT
INTEREST_URGENT = EPOLLPRI
INTEREST_STREAM = INTEREST_READ | INTEREST_URGENT  # urgent data cuts reads short at its mark (rule 2)
INTEREST_HANGUP = EPOLLRDHUP  # HUP and ERR are told unasked
READ_SIZE = BUFFER_SIZE
MAX_CHUNKS = VECTOR_SIZE  # IOV_MAX


cpdef double now() noexcept:
    """CLOCK_MONOTONIC in seconds: the clock of time.monotonic()."""
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return moment.tv_sec + moment.tv_nsec * 1e-9


cpdef close(int fd):
    """Close a descriptor. After EINTR Linux has closed it all the same, close(2)."""
    if posix_close(fd) < 0 and errno != EINTR:
        PyErr_SetFromErrno(OSError)
