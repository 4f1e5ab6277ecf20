"""The system calls of the pure edition; ``kernel.pyx`` is the same interface for the compiled one.

Same names, same return values, same exceptions. Only this room knows errno values; what a caller has to handle is
either a documented return value or an OSError.
"""

from __future__ import annotations

import contextvars
import errno
import fcntl
import os
import select
import socket
import sys
import termios
import time
from collections.abc import Callable
from threading import get_ident
from typing import Any

EPOLL_READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
EPOLL_WRITE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
EPOLL_HANGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
EPOLL_EDGE = select.EPOLLET
INTEREST_READ = select.EPOLLIN | select.EPOLLRDHUP
INTEREST_WRITE = select.EPOLLOUT
INTEREST_HANGUP = select.EPOLLRDHUP  # HUP and ERR are told unasked
# Under malloc's threshold for mmap(2), 128 KiB: over it each read costs a mapping, its page faults and its removal, which
# tripled the CPU time of a 1 KiB echo. (The compiled edition reads into one buffer of its own, of 256 KiB.)
READ_SIZE = 65536

# One turn's events; the kernel keeps what does not fit and gives it next time, the longest waiting first.
MOST_EVENTS = 1024
MOST_CHUNKS = 1024  # IOV_MAX
SPARE_HANDLES = 0  # here the reference counts can't be known

exhausted = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""The errno values of accept(2) that mean: not now, but the connection waits on."""

terminal_gone = errno.EIO
"""The errno of read(2) on a terminal whose other side was closed: its way to say end of file."""

# accept(2): Linux passes errors that wait on the new socket to the accepting one; that connection is gone.
_CONNECTION_GONE = frozenset(
    (
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.EPERM,
    )
)

# Closed without a word to us, the number names another file (one that epoll may refuse) or none: the kernel has dropped
# what was registered already.
_CLOSED_BY_ITS_OWNER = frozenset((errno.ENOENT, errno.EBADF, errno.EPERM))

_ONE = (1).to_bytes(8, sys.byteorder)  # an eventfd counts in the machine's own byte order


class Poller:
    """An epoll set; ``wait`` leaves what the kernel said in ``fds`` and ``masks``."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
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

    def close(self) -> None:
        self._epoll.close()


now = time.monotonic
copy_context = contextvars.copy_context
call_none = contextvars.Context.run
call_one = contextvars.Context.run


def call(context: contextvars.Context, callback: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call in the given context."""
    try:
        return context.run(callback, *args)
    finally:
        # A traceback that a task keeps of its exception refers to this frame: it must not lead back to the task.
        del callback, args


def attributes_on_demand(owner: Any) -> None:
    """Nothing to do here: the interpreter does so by itself."""


def is_this_thread(thread_id: int | None) -> bool:
    """Whether ``thread_id``, as ``threading.get_ident`` gives it, is the calling thread's."""
    return thread_id == get_ident()


def unshared(thing: object) -> bool:
    """Whether nothing but the caller's variable refers to ``thing``: never known here."""
    return False


def check_signals() -> None:
    """Nothing to do here: the interpreter runs signal handlers between any two of its instructions."""


def wake(fd: int) -> None:
    """Add one to an eventfd: a new edge each time, so that nobody has to read it."""
    try:
        os.write(fd, _ONE)
    except BlockingIOError:  # the counter is full: the edge of the last write is still to come
        pass


def recv(fd: int) -> bytes | None:
    """Read at most READ_SIZE bytes: ``b""`` at the end of the stream, None if the call would block."""
    try:
        return os.read(fd, READ_SIZE)
    except BlockingIOError:
        return None


def recv_into(fd: int, buffer: Any) -> int:
    """Read into a writable buffer: the count, 0 at the end of the stream, -1 if the call would block."""
    try:
        return os.readv(fd, [buffer])
    except BlockingIOError:
        return -1


def send(fd: int, data: Any) -> int:
    """Write from a buffer: the count, -1 if the call would block."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return -1


def send_many(fd: int, chunks: list[Any]) -> int:
    """Write the first IOV_MAX of the buffers in one call: the count, -1 if the call would block."""
    try:
        return os.writev(fd, chunks[:MOST_CHUNKS])
    except BlockingIOError:
        return -1


def read(fd: int) -> bytes | None:
    """``recv`` for what need not be a socket: a pipe, a character device."""
    return recv(fd)


def unread(fd: int) -> int:
    """How many bytes wait in a pipe, ioctl(2) FIONREAD."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def write(fd: int, data: Any) -> int:
    """``send`` for what need not be a socket."""
    return send(fd, data)


def write_many(fd: int, chunks: list[Any]) -> int:
    """``send_many`` for what need not be a socket."""
    return send_many(fd, chunks)


def accept(listening: socket.socket) -> tuple[int, Any] | None:
    """Take the next connection: (fd, peer address), or None if no more wait. The fd is non-blocking, close-on-exec."""
    while True:
        try:
            fd, address = listening._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return None
        except OSError as exc:
            if exc.errno not in _CONNECTION_GONE:
                raise
            continue
        os.set_blocking(fd, False)
        return fd, address


def local_address(fd: int) -> Any:
    """The address a socket is bound to, in the form the socket module gives it."""
    borrowed = socket.socket(fileno=fd)
    try:
        return borrowed.getsockname()
    finally:
        borrowed.detach()


def close(fd: int) -> None:
    """Close a descriptor. After EINTR Linux has closed it all the same, close(2)."""
    os.close(fd)
