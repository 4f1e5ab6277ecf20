"""The kernel's constants, the clock and, of the compiled edition, the interpreter calls that C makes cheaper.

``kernel.py`` is the same interface for the pure edition: same names, same return values, same exceptions. So it is with the
rooms beside this one: kernel_epoll, kernel_sockets, kernel_pipes, kernel_datagram. Together they make every system call of a
turn, and only they know errno values; what a caller has to handle is either a documented return value or an OSError.
"""

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close as posix_close

from edgeloop cimport kernel_interpreter

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
MOST_CHUNKS = VECTOR_SIZE  # IOV_MAX
# Kept by a loop; the free list that Cython knows is not to be had from a .pxd.
SPARE_HANDLES = 0 if kernel_interpreter.plain() else 1024


cpdef double now() noexcept:
    """CLOCK_MONOTONIC in seconds: the clock of time.monotonic()."""
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return moment.tv_sec + moment.tv_nsec * 1e-9


cpdef attributes_on_demand(owner):
    """Give the object its ``__dict__`` when somebody sets an attribute on it, not before.

    Cython makes one for each object of a class that declares it. Few ever need it, it takes memory, and the interpreter
    finds methods faster where there is none.
    """
    kernel_interpreter.drop_dict(owner)


cpdef check_signals():
    """Run the Python handlers of the signals that came: compiled code passes none of the interpreter's own checks."""
    PyErr_CheckSignals()


cpdef close(int fd):
    """Close a descriptor. After EINTR Linux has closed it all the same, close(2)."""
    if posix_close(fd) < 0 and errno != EINTR:
        PyErr_SetFromErrno(OSError)


cdef int report(handle) except -1:
    """After a call that failed: tell ``handle.report``, but raise SystemExit and KeyboardInterrupt, as asyncio does.

    Apart from ``run``, since a try statement takes instructions also where nothing is raised.
    """
    try:
        raised()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        handle.report(exc)
