"""The epoll set and the eventfd that wakes it. ``epoll.py`` is the pure edition, and says what callers may rely on.

Only ``wait`` and ``wake`` release the GIL, and only where another thread may want it: it costs more than the other calls.
"""

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EBADF, EEXIST, EINTR, EINVAL, ENOENT, ENOSYS, EPERM, errno
from libc.math cimport ceil
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from posix.unistd cimport close, write

from edgeloop.kernel cimport calls, interpreter

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int count, int flags)
    int EFD_CLOEXEC, EFD_NONBLOCK

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, ...)
    int PR_GET_TIMERSLACK

cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/epoll.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #ifndef SYS_epoll_pwait2
    #define SYS_epoll_pwait2 441  /* the same number on every architecture: all calls since 424 are */
    #endif

    /* The kernel's __kernel_timespec: 64 bits each, also where the C library's long and time_t have 32. */
    struct edgeloop_timespec {
        int64_t tv_sec;
        int64_t tv_nsec;
    };
    _Static_assert(sizeof(struct edgeloop_timespec) == 16, "the kernel's timespec has 64 bits for each");

    static int edgeloop_epoll_pwait2(int epfd, struct epoll_event *events, int maxevents, struct edgeloop_timespec *timeout) {
        return (int)syscall(SYS_epoll_pwait2, epfd, events, maxevents, timeout, NULL, 0);
    }
    """
    struct edgeloop_timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int edgeloop_epoll_pwait2(int epfd, epoll_event* events, int maxevents, edgeloop_timespec* timeout) nogil

# The kernel may prolong a sleep by the thread's timer slack, or by this part of the sleep if that is more, but by 100 ms at
# most (fs/select.c, which epoll calls).
cdef enum:
    SLACK_PARTS = 1000
cdef double MAX_SLACK = 0.1


cdef double without_slack(double timeout, double slack) noexcept nogil:
    """Return the seconds to ask for, so that with the kernel's longest prolongation the sleep lasts ``timeout``.

    An idle CPU prolongs it by nearly all of that. If something interrupts the CPU earlier, the loop finds no timer due and
    sleeps again, for a rest that is too short to be shortened.
    """
    cdef double shorter = timeout - slack
    if timeout * (1.0 / (SLACK_PARTS + 1)) > slack:
        shorter = timeout * (<double>SLACK_PARTS / (SLACK_PARTS + 1))
        if timeout - shorter > MAX_SLACK:
            shorter = timeout - MAX_SLACK
    return shorter if shorter > 0 else timeout


cdef bint closed_by_its_owner(int error) noexcept:
    # Its number names no file, or another one, which epoll may refuse. The kernel has dropped the registration.
    return error == ENOENT or error == EBADF or error == EPERM


cdef class Poller:
    """An epoll set that other threads can wake. The events of the last wait are in ``fds`` and ``masks``.

    It owns the descriptors of the set and of the eventfd, until ``close`` or the destructor. It owns none that it watches.
    """

    def __cinit__(self):
        self._fd = self._waker = -1
        self._slack = -1
        self._size = MAX_EVENTS
        self._events = malloc(MAX_EVENTS * sizeof(epoll_event))
        self.fds = <int*>malloc(MAX_EVENTS * sizeof(int))
        self.masks = <int*>malloc(MAX_EVENTS * sizeof(int))
        if self._events == NULL or self.fds == NULL or self.masks == NULL:
            raise MemoryError
        self._fd = epoll_create1(EPOLL_CLOEXEC)
        if self._fd < 0:
            PyErr_SetFromErrno(OSError)
        self._waker = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self._waker < 0:
            PyErr_SetFromErrno(OSError)
        self.add(self._waker, calls.INTEREST_READ | calls.EPOLL_EDGE)

    def __dealloc__(self):
        self._give_back()
        free(self._events)
        free(self.fds)
        free(self.masks)

    def fileno(self):
        """Return the descriptor of the epoll set, -1 once it is closed."""
        return self._fd

    cdef int _control(self, int op, int fd, int mask) noexcept:
        cdef epoll_event event
        event.events = <uint32_t>mask
        event.data.u64 = 0
        event.data.fd = fd  # what wait() reads; on a big-endian machine u64 would fill the other half
        return epoll_ctl(self._fd, op, fd, &event)

    cpdef add(self, int fd, int mask):
        """Register a descriptor; modify it if the set has this file under this number already, closed and dup'ed back."""
        self._ensure(EPOLL_CTL_ADD, fd, mask)

    cpdef bint adopt(self, int fd, int mask) except -1:
        """Register a descriptor of another set. Return False if its owner has closed it since."""
        if self._control(EPOLL_CTL_ADD, fd, mask) < 0:
            # Its number may be that of one of this set's own descriptors by now.
            if errno == EBADF or errno == EPERM or errno == EEXIST or errno == EINVAL:
                return False
            PyErr_SetFromErrno(OSError)
        return True

    cpdef modify(self, int fd, int mask):
        """Modify a descriptor; register it if its owner has closed it without a word, and the number names another file."""
        self._ensure(EPOLL_CTL_MOD, fd, mask)

    cdef int _ensure(self, int op, int fd, int mask) except -1:
        # No exception in between: to make one may collect garbage, and a destructor register or remove the descriptor.
        if self._control(op, fd, mask) < 0:
            if errno == EEXIST:
                op = EPOLL_CTL_MOD
            elif errno == ENOENT:
                op = EPOLL_CTL_ADD
            else:
                PyErr_SetFromErrno(OSError)
            if self._control(op, fd, mask) < 0:
                PyErr_SetFromErrno(OSError)
        return 0

    cpdef refresh(self, int fd, int mask):
        """``modify`` a descriptor that its owner may have closed; then do nothing."""
        if self._control(EPOLL_CTL_MOD, fd, mask) < 0 and not closed_by_its_owner(errno):
            PyErr_SetFromErrno(OSError)

    cpdef remove(self, int fd):
        """Take a descriptor out, EPOLL_CTL_DEL; do nothing if its owner has closed it."""
        if self._control(EPOLL_CTL_DEL, fd, 0) < 0 and not closed_by_its_owner(errno):
            PyErr_SetFromErrno(OSError)

    cpdef int wait(self, double timeout) except -1:
        """Wait for events for ``timeout`` seconds, without limit if it is negative. Return how many there are.

        0: the time is over, or a signal came. What a signal handler raises is raised.
        """
        cdef int count, error, i
        cdef int milliseconds
        cdef double shorter
        cdef edgeloop_timespec limit
        cdef epoll_event* events = <epoll_event*>self._events
        if timeout == 0 and not interpreter.has_company():
            count = epoll_wait(self._fd, events, self._size, 0)
            error = errno
        elif timeout == 0:
            # Else every other thread would wait for sys.getswitchinterval() each time that it wants the GIL.
            with nogil:
                count = epoll_wait(self._fd, events, self._size, 0)
                error = errno
        elif timeout < 0:
            with nogil:
                count = epoll_wait(self._fd, events, self._size, -1)
                error = errno
        else:
            if timeout > 86400:
                timeout = 86400  # like the stdlib: one wake-up a day, and no overflow of a time field
            if not self._coarse:
                if self._slack < 0:
                    self._slack = max(prctl(PR_GET_TIMERSLACK), 0) * 1e-9
                shorter = without_slack(timeout, self._slack)
                limit.tv_sec = <int64_t>shorter
                limit.tv_nsec = <int64_t>ceil((shorter - limit.tv_sec) * 1e9)
                if limit.tv_nsec >= 1000000000:
                    limit.tv_sec += 1
                    limit.tv_nsec = 0
                with nogil:
                    count = edgeloop_epoll_pwait2(self._fd, events, self._size, &limit)
                    error = errno
                # Linux has the call from 5.11 on. A sandbox may answer EPERM to one that it doesn't know.
                if count < 0 and (error == ENOSYS or error == EPERM):
                    self._coarse = True
            if self._coarse:
                milliseconds = <int>ceil(timeout * 1e3)
                with nogil:
                    count = epoll_wait(self._fd, events, self._size, milliseconds)
                    error = errno
        if count < 0:
            if error != EINTR:
                (&errno)[0] = error
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
            return 0
        for i in range(count):
            self.fds[i] = events[i].data.fd
            self.masks[i] = <int>events[i].events
        return count

    cpdef wake(self):
        """End the wait that is under way, or the next one. Do nothing if the set is closed.

        Each write to an eventfd is a new edge, so nobody has to read it. If its counter is full (EAGAIN), the edge of the
        last write is still pending.
        """
        cdef uint64_t one = 1
        cdef ssize_t written
        cdef int error
        if self._waker < 0:
            return
        if not interpreter.has_company():
            written = write(self._waker, &one, sizeof(one))
            error = errno
        else:
            # The thread that this wakes wants the GIL at once. If it had to wait for it, it would be woken twice.
            self._waking += 1
            with nogil:
                written = write(self._waker, &one, sizeof(one))
                error = errno
            self._waking -= 1
            if self._fd < 0:
                self._give_back()
        if written < 0 and error != EAGAIN:
            (&errno)[0] = error
            PyErr_SetFromErrno(OSError)

    cpdef close(self):
        """Close the set, and the eventfd as soon as no thread writes to it. May be called again."""
        self._give_back()

    cdef void _give_back(self) noexcept:
        if self._fd >= 0:
            close(self._fd)
            self._fd = -1
        if self._waker >= 0 and not self._waking:  # else the last thread that writes to it closes it: wake()
            close(self._waker)
            self._waker = -1
