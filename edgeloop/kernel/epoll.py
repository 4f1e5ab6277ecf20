"""The epoll set and the eventfd that wakes it: what core/reactor.py builds on. ``epoll.pyx`` is the compiled edition.

- ``add``, ``modify``, ``refresh`` and ``remove`` take effect before they return, also on a wait in another thread. The
  reactor calls them from the thread that runs the loop, or from any one thread while none does.
- ``add`` raises FileExistsError if the set has this file under this number, PermissionError if epoll can't watch it.
  ``modify`` raises FileNotFoundError if the set no longer has it. Both raise every other errno as OSError.
- ``adopt`` returns False for a descriptor that is closed, or names another file that this set can't watch or has already.
- ``refresh`` and ``remove`` do nothing on ENOENT, EBADF and EPERM: the owner has closed the descriptor (rule 9).
- An edge is reported once (EPOLLET). ``modify`` makes the kernel report again what is ready at that moment (rule 4).
- ``wait`` is called by one thread at a time, and may release the GIL. ``wake`` may be called from any thread and from a
  signal handler, also after ``close``.
- ``wait`` doesn't return before its timeout without a reason, and is late by microseconds where the kernel has epoll_pwait2,
  by up to a millisecond elsewhere (rule 12).
"""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
from collections.abc import Callable

from . import calls, os_calls

# The events of one wait. The kernel keeps what does not fit for the next one, and returns the longest waiting first.
MAX_EVENTS = 1024

# The owner has closed the descriptor. Its number names no file, or another one, which epoll may refuse. The kernel has
# dropped the registration.
_CLOSED_BY_ITS_OWNER = frozenset((errno.ENOENT, errno.EBADF, errno.EPERM))
# The same in a new set: its own descriptors may have got the number.
_NOT_ADOPTED = frozenset((errno.EBADF, errno.EPERM, errno.EEXIST, errno.EINVAL))


_ONE = (1).to_bytes(8, sys.byteorder)  # what an eventfd is to count, eventfd(2)


class _Waker:
    """An eventfd, which closes itself when the last reference to it is gone.

    ``Poller.close`` must not close it: another thread may be about to write(2) to the number, without the GIL, and the
    number could be another file's by then. The call of ``wake`` holds a reference.
    """

    def __init__(self) -> None:
        self.fd = -1  # until there is an object that closes it
        self.fd = os_calls.new_eventfd()

    def wake(self) -> None:
        try:
            os.write(self.fd, _ONE)
        except BlockingIOError:  # the counter is full: the edge of the last write is still pending
            pass

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # ``os`` may be gone when the interpreter ends
        if self.fd >= 0:
            close(self.fd)


class _LockedWaker(_Waker):
    """The same where a collector comes some time after the last reference: PyPy. ``Poller.close`` closes it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may wake in the middle of ``wake``
        super().__init__()

    def wake(self) -> None:
        with self._lock:
            if self.fd >= 0:
                super().wake()

    def close(self) -> None:
        """Close the eventfd, or leave that to the destructor: a forked child may have inherited a lock that nobody opens."""
        if self._lock.acquire(blocking=False):
            try:
                fd, self.fd = self.fd, -1
                if fd >= 0:
                    os.close(fd)
            finally:
                self._lock.release()


_COUNTS_REFERENCES = sys.implementation.name == "cpython"


class Poller:
    """An epoll set that other threads can wake. The events of the last wait are in ``fds`` and ``masks``.

    It owns the descriptors of the set and of the eventfd, until ``close`` or the destructor. It owns none that it watches.
    ``add``, ``modify`` and ``wait`` of a closed set raise ValueError in the pure edition, OSError (EBADF) in the compiled one.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._interests: dict[int, int] = {}  # the mask of each descriptor; some may be closed
        self._lost = False  # the events of a wait may be lost, which the kernel does not report again by itself
        self._waker: _Waker | None = None
        try:
            self._waker = _Waker() if _COUNTS_REFERENCES else _LockedWaker()
            self._epoll.register(self._waker.fd, calls.INTEREST_READ | calls.EPOLL_EDGE)
        except BaseException:
            self.close()  # now: the traceback refers to this frame, and may keep the object alive
            raise
        self.fds: list[int] = []  # written by ``wait`` alone, and valid up to the count that it returned
        self.masks: list[int] = []  # likewise

    def fileno(self) -> int:
        """Return the descriptor of the epoll set, -1 once it is closed."""
        return self._epoll.fileno()

    def add(self, fd: int, mask: int) -> None:
        """Register a descriptor; modify it if the set has this file under this number already, closed and dup'ed back."""
        self._interests[fd] = mask
        try:
            self._epoll.register(fd, mask)
        except FileExistsError:
            self.modify(fd, mask)

    def adopt(self, fd: int, mask: int) -> bool:
        """Register a descriptor of another set. Return False if its owner has closed it since."""
        self._interests[fd] = mask
        try:
            self._epoll.register(fd, mask)
        except OSError as exc:
            if exc.errno not in _NOT_ADOPTED:
                raise
            return False
        return True

    def modify(self, fd: int, mask: int) -> None:
        """Modify a descriptor; register it if its owner has closed it without a word, and the number names another file."""
        self._interests[fd] = mask
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self.add(fd, mask)  # which may find it there again: a destructor has run meanwhile

    def refresh(self, fd: int, mask: int) -> None:
        """``modify`` a descriptor that its owner may have closed; then do nothing."""
        self._interests[fd] = mask
        try:
            self._epoll.modify(fd, mask)
        except OSError as exc:
            if exc.errno not in _CLOSED_BY_ITS_OWNER:
                raise

    def remove(self, fd: int) -> None:
        """Take a descriptor out, EPOLL_CTL_DEL; do nothing if its owner has closed it."""
        self._interests.pop(fd, None)
        try:
            self._epoll.unregister(fd)
        except OSError as exc:
            if exc.errno not in _CLOSED_BY_ITS_OWNER:
                raise

    def wait(self, timeout: float) -> int:
        """Wait for events for ``timeout`` seconds, without limit if it is negative. Return how many there are.

        0: the time is over, or (compiled) a signal came. What a signal handler raises is raised.
        """
        # select.epoll rounds the time up to milliseconds. It runs signal handlers and then sleeps on; the loop wakes up
        # anyway, because the signal has written to its wake-up descriptor.
        if timeout > 86400:
            timeout = 86400  # like the stdlib: one wake-up a day, and no overflow of a time field
        if self._lost:
            self._report_again()
        self._lost = True
        events = self._epoll.poll(timeout, MAX_EVENTS)
        if events:
            self.fds = [event[0] for event in events]
            self.masks = [event[1] for event in events]
        count = len(events)
        self._lost = False
        return count

    def _report_again(self) -> None:
        # The last wait has raised, for want of memory or by a signal handler. EPOLL_CTL_MOD reports what is ready (rule 4).
        for fd, mask in list(self._interests.items()):
            self.refresh(fd, mask)

    def wake(self) -> None:
        """End the wait that is under way, or the next one. Do nothing if the set is closed.

        Each write to an eventfd is a new edge, so nobody has to read it.
        """
        waker = self._waker
        if waker is not None:  # the loop's thread may have run the callback and closed the loop by now
            waker.wake()

    def close(self) -> None:
        """Close the set, and the eventfd as soon as no thread writes to it. May be called again."""
        self._epoll.close()
        waker, self._waker = self._waker, None
        if isinstance(waker, _LockedWaker):
            waker.close()
