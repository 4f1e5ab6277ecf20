"""The system calls on stream sockets, and addresses, of the pure edition; ``sockets.pyx`` is the compiled edition's.

The calls go through a socket object, which alone has MSG_DONTWAIT: none of them waits for a socket
that somebody else has set to block; only accept(2) does, without the GIL. The compiled edition needs the descriptor alone.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
from typing import Any

from .calls import MAX_CHUNKS, READ_SIZE
from .connection_socket import new_socket

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


def object_for(fd: int, sock: Any, family: int) -> Any:
    """The socket object that the calls below take: ``sock``, or one that owns the descriptor from now on."""
    if sock is None:
        sock = new_socket(family, socket.SOCK_STREAM, 0, fd)
        sock.setblocking(False)
    elif sock.gettimeout():
        sock.setblocking(False)  # with a time limit, the object would wait on its own account
    return sock


def recv(fd: int, sock: socket.socket) -> bytes | None:
    """Read at most READ_SIZE bytes: ``b""`` at the end of the stream, None if the call would block."""
    try:
        return sock.recv(READ_SIZE, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None


def recv_large(fd: int, sock: socket.socket) -> bytes | None:
    """``recv`` where much is expected: there is no other way here."""
    return recv(fd, sock)


def recv_into(fd: int, sock: socket.socket, buffer: Any) -> int:
    """Read into a writable buffer: the count, 0 at the end of the stream, -1 if the call would block."""
    try:
        return sock.recv_into(buffer, 0, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return -1


def closed_by_owner() -> OSError:
    """What the call on a closed socket would raise (EBADF): its number may be a stranger's by now."""
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


def byte_size(buffer: Any) -> int:
    """How many bytes a buffer has, whatever the size of its items."""
    return memoryview(buffer).nbytes


def recv_message(fd: int, sock: socket.socket) -> tuple[bytes, bool] | None:
    """``recv`` on a Unix socket: the data, and whether more may wait than a short read says; None if it would block."""
    # Without room for control messages: the kernel closes the descriptors that come, and MSG_CTRUNC tells of them, as it
    # does of a writer's credentials, SO_PASSCRED in unix(7). Both end a read.
    try:
        data, _, flags, _ = sock.recvmsg(READ_SIZE, 0, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    return data, flags & socket.MSG_CTRUNC != 0


def recv_message_into(fd: int, sock: socket.socket, buffer: Any) -> tuple[int, bool]:
    """``recv_into`` on a Unix socket: the count, -1 if the call would block, and whether more may wait than it says."""
    try:
        count, _, flags, _ = sock.recvmsg_into((buffer,), 0, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return -1, False
    return count, flags & socket.MSG_CTRUNC != 0


def send(fd: int, sock: socket.socket, data: Any) -> int:
    """Write from a buffer: the count, -1 if the call would block."""
    try:
        return sock.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return -1


def first_chunks(chunks: list[Any]) -> list[Any]:
    """The first IOV_MAX. No slice: a collection that empties the list in the middle of that ends Python 3.11 itself."""
    return chunks if len(chunks) <= MAX_CHUNKS else list(itertools.islice(chunks, MAX_CHUNKS))


def send_many(fd: int, sock: socket.socket, chunks: list[Any]) -> int:
    """Write the first IOV_MAX of the buffers in one call: the count, -1 if the call would block."""
    try:
        return sock.sendmsg(first_chunks(chunks), (), socket.MSG_DONTWAIT)
    except BlockingIOError:
        return -1


def _would_block(fd: int) -> bool:
    # Of a socket that somebody has set to block, accept(2) would wait, and the loop with it.
    if not os.get_blocking(fd):
        return False
    look = select.poll()
    look.register(fd, select.POLLIN)
    return not look.poll(0)


def accept(listening: socket.socket) -> tuple[int, Any] | None:
    """Take the next connection: (fd, peer address), or None if no more wait. The fd is non-blocking, close-on-exec."""
    while True:
        if _would_block(listening.fileno()):
            return None
        try:
            fd, address = listening._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return None
        except OSError as exc:
            if exc.errno not in _CONNECTION_GONE:
                raise
            continue
        try:
            os.set_blocking(fd, False)
        except BaseException:  # a signal's handler may raise here
            os.close(fd)
            raise
        return fd, address


def local_address(fd: int) -> Any:
    """The address a socket is bound to, in the form the socket module gives it."""
    borrowed = socket.socket(fileno=fd)
    try:
        return borrowed.getsockname()
    finally:
        borrowed.detach()
