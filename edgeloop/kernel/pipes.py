"""The system calls on pipes and character devices. ``pipes.pyx`` is the compiled edition.

- None blocks, though the open file description may be shared with a process that has set it to block. RWF_NOWAIT, preadv2(2),
  asks for one call what O_NONBLOCK asks for all. Devices, named FIFOs and Linux before 6.4 refuse it. There poll(2) is asked
  first; if another reader takes the data after that, a read of a blocking file blocks, without the GIL.
- EAGAIN: None, or -1 where a count is returned. EIO of a terminal is raised: see ``terminal_gone``. EPIPE raises
  BrokenPipeError.
- A short count proves nothing: a packet pipe ends a read at each packet. Only EAGAIN clears readiness (rule 2).
- ``device`` says that the descriptor is a character device. The caller passes the same value each time.
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
"""The errno of read(2) on a terminal whose other side is closed. It means end of file."""

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)  # musl has it from 1.2.5 on
# The file, the kernel or a sandbox does not allow RWF_NOWAIT.
_REFUSED = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM))
# What a write after POLLOUT may have without blocking: PIPE_BUF bytes in a pipe, pipe(7), far less in a terminal.
_WRITE_SIZE = select.PIPE_BUF
_DEVICE_WRITE_SIZE = 256


class _Scratch(threading.local):
    """The buffer of preadv(2), which makes no bytes object. One for each thread."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_SIZE))


_scratch = _Scratch()


def _is_ready(fd: int, event: int) -> bool:
    poller = select.poll()
    poller.register(fd, event)
    return bool(poller.poll(0))


def read(fd: int, device: bool) -> bytes | None:
    """Read at most READ_SIZE bytes. Return ``b""`` at the end of the file, None if the call would block."""
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
    """Return the number of bytes in a pipe, ioctl(2) FIONREAD."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def write(fd: int, device: bool, data: Any) -> int:
    """Write from a buffer. Return the count, -1 if the call would block."""
    return write_many(fd, device, [data])


def write_many(fd: int, device: bool, chunks: list[Any]) -> int:
    """Write the first IOV_MAX of the buffers in one call. Return the count, -1 if the call would block."""
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
