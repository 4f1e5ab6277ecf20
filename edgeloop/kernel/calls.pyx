"""epoll(7)'s constants, the sizes of reads and writes, the clock and close(2). ``calls.py`` is the pure edition.

EPOLL_* are masks of the events that ``Poller.wait`` returns, INTEREST_* are what ``Poller.add`` registers (rule 2).
``now`` returns seconds and never fails. ``close`` raises OSError for every errno but EINTR. Any thread may call both.
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
# With PRI: urgent data ends a read at its mark and leaves the rest (rule 2).
EPOLL_HANGUP = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI
EPOLL_URGENT = EPOLLPRI
EPOLL_EDGE = <int>EPOLLET
INTEREST_READ = EPOLLIN | EPOLLRDHUP
INTEREST_WRITE = EPOLLOUT
INTEREST_URGENT = EPOLLPRI
INTEREST_STREAM = INTEREST_READ | INTEREST_URGENT
INTEREST_HANGUP = EPOLLRDHUP  # the kernel adds HUP and ERR itself, epoll_ctl(2)
READ_SIZE = BUFFER_SIZE
MAX_CHUNKS = VECTOR_SIZE  # IOV_MAX


cpdef double now() noexcept:
    """Return CLOCK_MONOTONIC in seconds, as time.monotonic() does."""
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return moment.tv_sec + moment.tv_nsec * 1e-9


cpdef close(int fd):
    """Close a descriptor. EINTR is no error: Linux has closed it then, close(2)."""
    if posix_close(fd) < 0 and errno != EINTR:
        PyErr_SetFromErrno(OSError)
