"""``add_reader`` and ``add_writer``, and the ``sock_*`` coroutines on top. asyncio doc: Working with socket objects directly.

Each call first tries; only when that would block does it wait for the descriptor and try again. The socket stays the
caller's: nothing of it stays registered longer than a few turns after the call (watch.py).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from .reactor import Channel
from .resolver import Resolver
from .watch import UNKNOWN, Watch

T = TypeVar("T")


def _descriptor_of(fileobj: Any) -> int:
    if isinstance(fileobj, int):
        fd = fileobj
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd


def check_not_tls(sock: Any) -> None:
    """TypeError for an ssl.SSLSocket: its reads and writes are not the descriptor's."""
    if isinstance(sock, ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")


class SocketCalls(Resolver):
    """Descriptors and sockets of the user's, as a theme of AbstractEventLoop."""

    # Readers and writers

    def _watch(self, fd: int) -> Watch:
        channel = self.reactor.find(fd)
        if isinstance(channel, Watch):
            return channel
        if channel is not None and channel.added:
            self._check_not_a_transport(fd)
        return Watch(self, fd)

    def _registered(self, fileobj: Any) -> Channel | None:
        """What is registered for a descriptor or file object. ValueError for what is neither and was never registered."""
        try:
            return self.reactor.find(_descriptor_of(fileobj))
        except ValueError:
            # A file object that its owner has closed no longer knows its number.
            for channel in self.reactor.channels:
                if isinstance(channel, Watch) and channel.fileobj is fileobj:
                    return channel
            raise

    def _check_not_a_transport(self, fd: Any) -> None:
        if not isinstance(fd, int):
            try:
                fd = fd.fileno()
            except (AttributeError, TypeError, ValueError):
                return  # add_reader will say what is wrong with it
            if not isinstance(fd, int):
                return
        channel = self.reactor.find(fd)
        if channel is not None and not isinstance(channel, Watch) and not getattr(channel, "is_gone", bool)():
            is_closing = getattr(channel, "is_closing", None)
            if is_closing is None or not is_closing():
                raise RuntimeError(f"File descriptor {fd!r} is used by transport {channel!r}")

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` for as long as the descriptor has something to read.

        Replaces the callback there was. Raises ValueError for what is no descriptor, OSError for one that epoll
        refuses (PermissionError for a regular file), RuntimeError for a transport's.
        """
        self._check_closed()
        self._check_not_a_transport(fd)
        watch = self._watch(_descriptor_of(fd))
        watch.set_reader(callback, args)
        watch.fileobj = fd

    def remove_reader(self, fd: Any) -> bool:
        """Undo ``add_reader``, also when the file object was closed meanwhile; whether there was anything to undo."""
        self._check_not_a_transport(fd)
        if self._closed:
            return False
        channel = self._registered(fd)
        return isinstance(channel, Watch) and channel.clear_reader()

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` for as long as the descriptor has room. Replaces and raises as ``add_reader``."""
        self._check_closed()
        self._check_not_a_transport(fd)
        watch = self._watch(_descriptor_of(fd))
        watch.set_writer(callback, args)
        watch.fileobj = fd

    def remove_writer(self, fd: Any) -> bool:
        """Undo ``add_writer``, also when the file object was closed meanwhile; whether there was anything to undo."""
        self._check_not_a_transport(fd)
        if self._closed:
            return False
        channel = self._registered(fd)
        return isinstance(channel, Watch) and channel.clear_writer()

    # Waiting

    def _check_socket(self, sock: Any) -> None:
        check_not_tls(sock)
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")

    def _socket_watch(self, sock: Any) -> Watch:
        fd = sock.fileno()
        self._check_not_a_transport(fd)
        watch = self._watch(fd)
        if watch.added and watch.owner is not None and watch.owner is not sock and not watch.waits():
            self.reactor.remove(watch)  # its owner closed it without a word, and the number is another socket's by now
            watch = Watch(self, fd)
        return watch

    async def _receive(self, sock: Any, call: Callable[..., T], args: tuple[Any, ...], full: int) -> T:
        """What ``call(*args)`` returns, tried until it no longer raises BlockingIOError; ``full``: see Watch.receive."""
        watch = self.reactor.find(sock.fileno())
        if not isinstance(watch, Watch) or not watch.is_empty(sock):
            try:
                return call(*args)
            except (BlockingIOError, InterruptedError):
                watch = self._socket_watch(sock)
        done: asyncio.Future[T] = watch.receive(sock, call, args, full)
        try:
            return await done
        finally:
            watch.leave(done)
            # An exception's traceback holds this frame, and the frame the future that holds the exception.
            del done

    async def _until_writable(self, sock: Any, attempt: Callable[[], T]) -> T:
        """Repeat ``attempt`` whenever ``sock`` is writable, until it no longer raises BlockingIOError."""
        watch = self._socket_watch(sock)
        done: asyncio.Future[T] = watch.send(sock, attempt)
        try:
            return await done
        finally:
            watch.leave(done)
            del done  # as above

    # sock_*

    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        """Receive at most ``nbytes`` bytes; ``b""`` at the end of the stream."""
        self._check_socket(sock)
        return await self._receive(sock, sock.recv, (nbytes,), nbytes)

    async def sock_recv_into(self, sock: socket.socket, buf: Any) -> int:
        """Receive into a writable buffer; the count of bytes."""
        self._check_socket(sock)
        size = len(buf) if type(buf) is bytearray else memoryview(buf).nbytes
        return await self._receive(sock, sock.recv_into, (buf,), size)

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram of at most ``bufsize`` bytes; the data and the sender's address."""
        self._check_socket(sock)
        return await self._receive(sock, sock.recvfrom, (bufsize,), UNKNOWN)

    async def sock_recvfrom_into(self, sock: socket.socket, buf: Any, nbytes: int = 0) -> tuple[int, Any]:
        """Receive a datagram into a buffer, at most ``nbytes`` (0: its length); the count and the sender's address."""
        self._check_socket(sock)
        return await self._receive(sock, sock.recvfrom_into, (buf, nbytes or len(buf)), UNKNOWN)

    async def sock_sendall(self, sock: socket.socket, data: Any) -> None:
        """Send all of the data. After an exception nothing says how much of it went."""
        self._check_socket(sock)
        self.reactor.stirred = True
        try:
            sent = sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        else:
            if type(data) is bytes and sent == len(data):
                return
        view = memoryview(data).cast("B")
        if sent == len(view):
            return

        def send_on() -> None:
            nonlocal sent
            sent += sock.send(view[sent:])
            if sent < len(view):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        await self._until_writable(sock, send_on)

    async def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> int:
        """Send a datagram; the count of bytes."""
        self._check_socket(sock)
        self.reactor.stirred = True
        try:
            return sock.sendto(data, address)
        except (BlockingIOError, InterruptedError):
            return await self._until_writable(sock, lambda: sock.sendto(data, address))

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to an address; a host name is looked up first. Raises OSError."""
        self._check_socket(sock)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            infos = await self._resolve(address, family=sock.family, type=sock.type, proto=sock.proto)
            address = infos[0][4]
        self.reactor.stirred = True
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            pass  # connect(2): goes on in the background, after EINTR too
        else:
            return

        def outcome() -> None:
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"Connect call failed {address}")

        await self._until_writable(sock, outcome)

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection on a listening socket; a non-blocking socket and the peer's address."""
        self._check_socket(sock)
        conn, address = await self._receive(sock, sock.accept, (), UNKNOWN)
        conn.setblocking(False)
        return conn, address
