"""The epoll set of the pure edition; ``kernel_epoll.pyx`` is the compiled edition's. A part of the kernel room."""

from __future__ import annotations

import errno
import os
import select
import sys

from . import kernel

# One turn's events; the kernel keeps what does not fit and gives it next time, the longest waiting first.
MOST_EVENTS = 1024

# Closed without a word to us, the number names another file (one that epoll may refuse) or none: the kernel has dropped
# what was registered already.
_CLOSED_BY_ITS_OWNER = frozenset((errno.ENOENT, errno.EBADF, errno.EPERM))


_ONE = (1).to_bytes(8, sys.byteorder)  # an eventfd counts in the machine's own byte order


class Poller:
    """An epoll set that other threads can wake; ``wait`` leaves what the kernel said in ``fds`` and ``masks``."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        # A file object, not a number: a thread that comes late finds it closed, and writes into nobody else's file.
        self._waker = open(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), "wb", buffering=0)
        self._epoll.register(self._waker, kernel.INTEREST_READ | kernel.EPOLL_EDGE)
        self.fds: list[int] = []
        self.masks: list[int] = []

    def fileno(self) -> int:
        return self._epoll.fileno()

    def add(self, fd: int, mask: int) -> None:
        self._epoll.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

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
        events = self._epoll.poll(timeout, MOST_EVENTS)
        if events:
            self.fds = [event[0] for event in events]
            self.masks = [event[1] for event in events]
        return len(events)

    def wake(self) -> None:
        """End the wait that is going on, or the next one; of a closed set nothing.

        Adds one to an eventfd: a new edge each time, so that nobody has to read it. If its counter is full, the edge of the
        last write is still to come.
        """
        try:
            self._waker.write(_ONE)
        except ValueError:  # closed: the loop's thread took the callback up and ended before we came to wake it
            pass

    def close(self) -> None:
        self._epoll.close()
        self._waker.close()
