"""What a service manager passes on and wants to be told: ``listen_fds``, ``notify``, ``notify_watchdog``.

The protocols are systemd's, sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3); other managers speak them too. No
library of systemd is needed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import time
from typing import NamedTuple

FIRST_FD = 3  # SD_LISTEN_FDS_START
_OF_SOCKETS = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")

# sd_notify(3): a new value of a field that the manager does not know is ignored, so names are not checked further.
_ASSIGNMENT = re.compile(r"[A-Za-z0-9_-]+=[^\n\0]*", re.DOTALL)
# Nobody listens, or nobody has taken what was said before.
_NOBODY = (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN)


class PassedSocket(NamedTuple):
    """One socket of ``listen_fds``: ``FileDescriptorName=`` of the socket unit, "unknown" without one, and the object."""

    name: str
    sock: socket.socket


_passed: list[PassedSocket] | None = None  # the objects own the descriptors: there can't be others for the same ones


def _number(variable: str, at_least: int = 0) -> int | None:
    """Return the number in the environment variable, None if it isn't set. Raise ValueError if it is none, or too small."""
    text = os.environ.get(variable)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < at_least:
        raise ValueError(f"{variable}={text!r} in the environment is not a number of at least {at_least}")
    return int(text)


def listen_fds(*, unset_environment: bool = False) -> list[PassedSocket]:
    """Return the sockets that the service manager has opened for this process, in the order of its units.

    The list has pairs of a name and a socket object, of the family and type that the descriptor has; ``dict`` makes a
    mapping of it where each name stands once. It is empty where the environment has no LISTEN_PID and LISTEN_FDS, or they
    are for another process, such as the parent. The descriptors are closed at exec(2) from now on. The objects own them,
    and further calls return the same objects. With ``unset_environment`` the variables are removed, also where this raises,
    so that children and further calls see none.

    Pass a listening socket to ``create_server(sock=)`` or ``create_unix_server(sock=)``.

    Raise ValueError, which names the variable and its value, for what is not a number, for as many descriptors as are not
    open or are no sockets, and for another count of names.

    Source: sd_listen_fds(3), https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
    """
    global _passed
    try:
        process = _number("LISTEN_PID", 1)
        count = _number("LISTEN_FDS")
        if process is None or not count or process != os.getpid():
            return []
        if _passed is None:
            _passed = _take(count, _names(count))
        return list(_passed)
    finally:
        if unset_environment:
            for variable in _OF_SOCKETS:
                os.environ.pop(variable, None)


def _names(count: int) -> list[str]:
    text = os.environ.get("LISTEN_FDNAMES")
    if text is None:
        return ["unknown"] * min(count, 1 << 16)  # more descriptors than that are not open
    names = text.split(":")
    if len(names) != count:
        raise ValueError(f"LISTEN_FDNAMES={text!r} in the environment has {len(names)} names, and LISTEN_FDS={count}")
    return names


def _take(count: int, names: list[str]) -> list[PassedSocket]:
    passed: list[PassedSocket] = []
    try:
        for fd, name in enumerate(names, FIRST_FD):
            os.set_inheritable(fd, False)
            passed.append(PassedSocket(name, socket.socket(fileno=fd)))
        if len(passed) < count:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    except OSError as exc:
        fd = FIRST_FD + len(passed)
        for _, sock in passed:
            sock.detach()  # all or none: the descriptors stay as they were found
        raise ValueError(f"LISTEN_FDS={count} in the environment, but descriptor {fd}: {exc.strerror}") from None
    return passed


def notify(*assignments: str, unset_environment: bool = False) -> bool:
    """Tell the service manager about this process. Return True if somebody was told.

        edgeloop.notify("READY=1", "STATUS=42 rooms")

    All go in one message. READY=1, RELOADING=1, STOPPING=1, STATUS=, WATCHDOG=1, MAINPID= and the others are those of
    sd_notify(3); RELOADING=1 gets the MONOTONIC_USEC= that it needs. Return False where NOTIFY_SOCKET is not set, nobody
    listens there, or the queue is full: nothing here blocks. With ``unset_environment`` the variable is removed.

    Raise TypeError or ValueError for what isn't NAME=value in one line: a line break in a STATUS would begin another
    assignment. Raise ValueError for a NOTIFY_SOCKET that is neither a path nor an abstract name, and OSError if it can't be
    used.

    Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
    """
    try:
        lines = list(assignments)
        if not lines:
            raise TypeError("notify() needs an assignment, such as 'READY=1'")
        for line in lines:
            if not isinstance(line, str):
                raise TypeError(f"an assignment must be a str, such as 'READY=1', got {line!r}")
            if not _ASSIGNMENT.fullmatch(line):
                raise ValueError(f"an assignment must be NAME=value in one line, got {line!r}")
        if "RELOADING=1" in lines and not any(line.startswith("MONOTONIC_USEC=") for line in lines):
            lines.append(f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        place = os.environ.get("NOTIFY_SOCKET")
        if not place:
            return False
        return _tell(place, "\n".join(lines))
    finally:
        if unset_environment:
            os.environ.pop("NOTIFY_SOCKET", None)


def _tell(place: str, message: str) -> bool:
    if place[0] not in "/@" or len(place) < 2:
        raise ValueError(f"NOTIFY_SOCKET={place!r} in the environment is neither a path nor an abstract name")
    address = os.fsencode(place)
    if place[0] == "@":
        address = b"\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(message.encode("utf-8", "surrogateescape"), socket.MSG_DONTWAIT, address)
        except OSError as exc:
            if exc.errno in _NOBODY:
                return False
            raise
    return True


class Watchdog:
    """Sends WATCHDOG=1 from a loop's timer. For the loop's thread alone; it ends with the loop, or by ``cancel``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        self._loop = loop
        self.interval = interval  # in seconds
        self._next: asyncio.Handle | None = loop.call_soon(self._ping)

    def _ping(self) -> None:
        self._next = self._loop.call_later(self.interval, self._ping)  # first: it comes whatever this one raises
        notify("WATCHDOG=1")

    def cancel(self) -> None:
        """Send no more. The manager ends the process when its time is over, unless it was told WATCHDOG_USEC=0."""
        following, self._next = self._next, None
        if following is not None:
            following.cancel()

    def cancelled(self) -> bool:
        """Return True if ``cancel`` was called."""
        return self._next is None


def notify_watchdog(loop: asyncio.AbstractEventLoop | None = None) -> Watchdog | None:
    """Tell the manager's watchdog from now on that ``loop`` turns, by default the running one.

    WATCHDOG=1 is sent at once, and then twice in the time that WATCHDOG_USEC (microseconds) gives. A callback that hangs
    stops it, as does the end of the loop. Return an object with ``cancel()``, or None where the environment asks for no
    watchdog, or not of this process (WATCHDOG_PID). Raise ValueError, which names the variable, for what is not a number;
    RuntimeError if no loop runs and none is given.

    Source: https://www.freedesktop.org/software/systemd/man/latest/sd_watchdog_enabled.html
    """
    if loop is None:
        loop = asyncio.get_running_loop()
    process = _number("WATCHDOG_PID", 1)
    microseconds = _number("WATCHDOG_USEC", 1)
    if microseconds is None or (process is not None and process != os.getpid()):
        return None
    return Watchdog(loop, microseconds / 2e6)
