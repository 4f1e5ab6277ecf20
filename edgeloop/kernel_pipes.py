"""The system calls on pipes and character devices of the pure edition; ``kernel_pipes.pyx`` is the compiled edition's.

A part of the kernel room.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import termios
from typing import Any

from . import kernel

terminal_gone = errno.EIO
"""The errno of read(2) on a terminal whose other side was closed: its way to say end of file."""


def read(fd: int) -> bytes | None:
    """``recv`` for what need not be a socket: a pipe, a character device."""
    try:
        return os.read(fd, kernel.READ_SIZE)
    except BlockingIOError:
        return None


def unread(fd: int) -> int:
    """How many bytes wait in a pipe, ioctl(2) FIONREAD."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def write(fd: int, data: Any) -> int:
    """``send`` for what need not be a socket."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return -1


def write_many(fd: int, chunks: list[Any]) -> int:
    """``send_many`` for what need not be a socket."""
    try:
        return os.writev(fd, chunks[: kernel.MOST_CHUNKS])
    except BlockingIOError:
        return -1
