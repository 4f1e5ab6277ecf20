"""The system calls on stream sockets, and their addresses. ``sockets.pyx`` is the compiled edition.

Callers pass the descriptor and the socket object from ``object_for``: the compiled edition uses the one, this one the other.

- None of the calls blocks on a socket that somebody else has set to block: recv(2) and send(2) have MSG_DONTWAIT. accept(2)
  has no such flag. There poll(2) is asked first, by the compiled edition only if the process has other threads; without
  them it blocks, as asyncio does. Another process that accepts from the same socket may come in between.
- EAGAIN: None, or -1 where a count is returned. EPIPE raises BrokenPipeError, and never SIGPIPE.
- ``accept`` skips connections that are gone. With an errno of ``exhausted`` the connection stays in the queue (rule 6).
- A count below what was asked for says whether anything is left only where kernel/short_reads.py says so (rule 2).
- Buffers are any that are contiguous (TypeError or BufferError otherwise). The calls hold them until they return.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
from typing import Any

from .calls import MAX_CHUNKS, READ_SIZE
from .connection_socket import borrowed_socket, new_socket

exhausted = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""The errno values of accept(2) that leave the connection in the queue (rule 6)."""

# accept(2): Linux returns the pending errors of the new socket. That connection is gone, others may wait.
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
    """Return the socket object for the other calls: ``sock``, or if that is None a new one, which owns the descriptor.

    Compiled, it is None in that case, and the caller goes on owning the descriptor.
    """
    if sock is None:
        sock = new_socket(family, socket.SOCK_STREAM, 0, fd)
        sock.setblocking(False)
    elif sock.gettimeout():
        sock.setblocking(False)  # with a timeout, the object would poll(2) by itself
    return sock


def recv(fd: int, sock: socket.socket) -> bytes | None:
    """Read at most READ_SIZE bytes. Return ``b""`` at the end of the stream, None if the call would block."""
    try:
        return sock.recv(READ_SIZE, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None


def recv_large(fd: int, sock: socket.socket) -> bytes | None:
    """``recv`` for a peer that sends much. Compiled, it saves a copy."""
    return recv(fd, sock)


def recv_into(fd: int, sock: socket.socket, buffer: Any) -> int:
    """Read into a writable buffer. Return the count, 0 at the end of the stream, -1 if the call would block."""
    try:
        return sock.recv_into(buffer, 0, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return -1


def closed_by_owner() -> OSError:
    """Return the OSError (EBADF) of a socket that its owner has closed. Its number may name another file by now (rule 9)."""
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


def byte_size(buffer: Any) -> int:
    """Return the number of bytes in a buffer, whatever the size of its items."""
    with memoryview(buffer) as view:  # let go of at once: its owner may change its size
        return view.nbytes


def recv_message(fd: int, sock: socket.socket) -> bytes | tuple[bytes] | None:
    """``recv`` on a Unix socket. Return the data, in a tuple if a short read may have left some, or None if it would block."""
    # There is no buffer for control messages. So the kernel closes descriptors that arrive, and sets MSG_CTRUNC, also for
    # a writer's credentials (SO_PASSCRED, unix(7)). Both end a read (rule 2).
    try:
        data, _, flags, _ = sock.recvmsg(READ_SIZE, 0, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    return (data,) if flags & socket.MSG_CTRUNC else data


def recv_message_into(fd: int, sock: socket.socket, buffer: Any) -> tuple[int, bool]:
    """``recv_into`` on a Unix socket. Return the count, -1 if it would block, and True if a short read may have left some."""
    try:
        count, _, flags, _ = sock.recvmsg_into((buffer,), 0, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return -1, False
    return count, flags & socket.MSG_CTRUNC != 0


def send(fd: int, sock: socket.socket, data: Any) -> int:
    """Write from a buffer. Return the count, -1 if the call would block."""
    try:
        return sock.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return -1


def first_chunks(chunks: list[Any]) -> list[Any]:
    """Return the first IOV_MAX. A slice would crash Python 3.11 if a garbage collection emptied the list meanwhile."""
    return chunks if len(chunks) <= MAX_CHUNKS else list(itertools.islice(chunks, MAX_CHUNKS))


def send_many(fd: int, sock: socket.socket, chunks: list[Any]) -> int:
    """Write the first IOV_MAX of the buffers in one call. Return the count, -1 if the call would block."""
    try:
        return sock.sendmsg(first_chunks(chunks), (), socket.MSG_DONTWAIT)
    except BlockingIOError:
        return -1


def _would_block(fd: int) -> bool:
    # Return True if accept(2) would block, which it only does on a socket that somebody has set to block.
    if not os.get_blocking(fd):
        return False
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return not poller.poll(0)


def accept(listening: socket.socket) -> tuple[int, Any] | None:
    """Accept a connection. Return (fd, peer address), or None if none waits.

    The caller owns the fd, which is non-blocking and close-on-exec.
    """
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
        except BaseException:  # what a signal handler raises
            os.close(fd)
            raise
        return fd, address


def local_address(fd: int) -> Any:
    """Return the address that a socket is bound to, in the form of the socket module."""
    borrowed = borrowed_socket(fd)
    try:
        return borrowed.getsockname()
    finally:
        borrowed.detach()
