"""The system calls on stream sockets, and addresses, of the pure edition; ``kernel_sockets.pyx`` is the compiled edition's.

A part of the kernel room.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from .kernel import MOST_CHUNKS, READ_SIZE

exhausted = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""The errno values of accept(2) that mean: not now, but the connection waits on."""

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


def recv(fd: int) -> bytes | None:
    """Read at most READ_SIZE bytes: ``b""`` at the end of the stream, None if the call would block."""
    try:
        return os.read(fd, READ_SIZE)
    except BlockingIOError:
        return None


def recv_large(fd: int) -> bytes | None:
    """``recv`` where much is expected: there is no other way here."""
    return recv(fd)


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
