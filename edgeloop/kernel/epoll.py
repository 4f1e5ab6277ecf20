"""The epoll set of the pure edition; ``epoll.pyx`` is the compiled edition's."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable

from . import calls

# One turn's events; the kernel keeps what does not fit and gives it next time, the longest waiting first.
MAX_EVENTS = 1024

# Closed without a word to us, the number names another file (one that epoll may refuse) or none: the kernel has dropped
# what was registered already.
_CLOSED_BY_ITS_OWNER = frozenset((errno.ENOENT, errno.EBADF, errno.EPERM))


class _Waker:
    """An eventfd that is closed when nobody refers to it any more.

    Not when the loop is closed: a thread in the middle of its write(2) has let the interpreter go, and the number would be
    another file's. The call itself keeps what it writes to.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def wake(self) -> None:
        try:
            os.eventfd_write(self.fd, 1)
        except BlockingIOError:  # the counter is full: the edge of the last write is still to come
            pass

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # at the interpreter's end ``os`` may be gone
        close(self.fd)


class Poller:
    """An epoll set that other threads can wake; ``wait`` leaves what the kernel said in ``fds`` and ``masks``."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waker: _Waker | None = None
        try:
            self._waker = _Waker(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
            self._epoll.register(self._waker.fd, calls.INTEREST_READ | calls.EPOLL_EDGE)
        except BaseException:
            self.close()  # at once: the traceback refers to this frame, and keeps us as long as somebody keeps it
            raise
        self.fds: list[int] = []
        self.masks: list[int] = []

    def fileno(self) -> int:
        return self._epoll.fileno()

    def add(self, fd: int, mask: int) -> None:
        """Register a descriptor; modify it if the set has this file under this number already, closed and dup'ed back."""
        try:
            self._epoll.register(fd, mask)
        except FileExistsError:
            self.modify(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        """Modify a descriptor; register it if its owner has closed it without a word, and the number names another file."""
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self.add(fd, mask)  # which may find it there again: a destructor has run meanwhile

    def refresh(self, fd: int, mask: int) -> None:
        """As ``modify``, for a descriptor that its owner may have closed: then nothing happens."""
        try:
            self._epoll.modify(fd, mask)
        except OSError as exc:
            if exc.errno not in _CLOSED_BY_ITS_OWNER:
                raise

    def remove(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except OSError as exc:
            if exc.errno not in _CLOSED_BY_ITS_OWNER:
                raise

    def wait(self, timeout: float) -> int:
        # select.epoll rounds the time up to milliseconds and runs signal handlers, but goes back to sleep after one;
        # the loop is woken all the same: by its wake-up descriptor, which the signal has written to.
        if timeout > 86400:
            timeout = 86400  # as the stdlib: wake once a day rather than overflow a time field
        events = self._epoll.poll(timeout, MAX_EVENTS)
        if events:
            self.fds = [event[0] for event in events]
            self.masks = [event[1] for event in events]
        return len(events)

    def wake(self) -> None:
        """End the wait that is going on, or the next one; of a closed set nothing.

        Adds one to an eventfd: a new edge each time, so that nobody has to read it.
        """
        waker = self._waker
        if waker is not None:  # else the loop's thread took the callback up and ended before we came to wake it
            waker.wake()

    def close(self) -> None:
        self._epoll.close()
        self._waker = None
