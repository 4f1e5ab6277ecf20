"""The system calls on pipes and character devices of the pure edition; ``pipes.pyx`` is the compiled edition's.

None of them blocks, not even when somebody else who shares the open file description has set it
to block: RWF_NOWAIT, preadv2(2), asks for one call what O_NONBLOCK asks for all. A device, a named FIFO and a kernel before
Linux 6.4 refuse it; there the file is looked at first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
import termios
import threading
from typing import Any

from .calls import READ_SIZE
from .sockets import first_chunks

terminal_gone = errno.EIO
"""The errno of read(2) on a terminal whose other side was closed: its way to say end of file."""

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)  # musl has it from 1.2.5 on
# Not for this file, not in this kernel, or not in this sandbox.
_REFUSED = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM))
# What poll(2) promises room for: a pipe that has any takes so many bytes at once, pipe(7); a terminal far less.
_WRITE_SIZE = select.PIPE_BUF
_DEVICE_WRITE_SIZE = 256


class _Scratch(threading.local):
    """Where data lands: preadv(2) has no other way."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_SIZE))


_scratch = _Scratch()


def _is_ready(fd: int, event: int) -> bool:
    look = select.poll()
    look.register(fd, event)
    return bool(look.poll(0))


def read(fd: int, device: bool) -> bytes | None:
    """Read at most READ_SIZE bytes: ``b""`` at the end of the file, None if the call would block."""
    try:
        if _NOWAIT and not device:
            try:
                view = _scratch.view
                count = os.preadv(fd, [view], -1, _NOWAIT)
                return view[:count].tobytes()
            except OSError as exc:
                if exc.errno not in _REFUSED:
                    raise
        if os.get_blocking(fd) and not _is_ready(fd, select.POLLIN):
            return None
        return os.read(fd, READ_SIZE)
    except BlockingIOError:
        return None


def unread(fd: int) -> int:
    """How many bytes wait in a pipe, ioctl(2) FIONREAD."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def write(fd: int, device: bool, data: Any) -> int:
    """Write from a buffer: the count, -1 if the call would block."""
    return write_many(fd, device, [data])


def write_many(fd: int, device: bool, chunks: list[Any]) -> int:
    """Write the first IOV_MAX of the buffers in one call: the count, -1 if the call would block."""
    try:
        if _NOWAIT and not device:
            try:
                return os.pwritev(fd, first_chunks(chunks), -1, _NOWAIT)
            except OSError as exc:
                if exc.errno not in _REFUSED:
                    raise
        if not os.get_blocking(fd):
            return os.writev(fd, first_chunks(chunks))
        if not _is_ready(fd, select.POLLOUT):
            return -1
        return os.write(fd, memoryview(chunks[0])[: _DEVICE_WRITE_SIZE if device else _WRITE_SIZE])
    except BlockingIOError:
        return -1
