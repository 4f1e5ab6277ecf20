"""``add_reader`` and ``add_writer``, and the ``sock_*`` coroutines on top. asyncio doc: Working with socket objects directly.

Each call first tries; only when that would block does it wait for the descriptor and try again. The socket stays the
caller's: nothing of it stays registered longer than a few turns after the call (watch.py).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from ..core.reactor import Channel
from .resolver import Resolver
from .watch import UNKNOWN, Watch

T = TypeVar("T")

# How long to wait before a full backlog of a Unix socket is tried again: twice as long each time, up to the longest.
BACKLOG_SECONDS = 0.001
MAX_BACKLOG_SECONDS = 0.1


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
    """Descriptors and sockets of the user's, as a mixin of EventLoop."""

    # Readers and writers

    def _channel(self, fd: int) -> Channel | None:
        """What is registered under a number that still is its own."""
        channel = self.reactor.find(fd)
        listening = getattr(channel, "sock", None)
        if channel is not None and listening is not None and listening.fileno() != fd:
            self.reactor.remove(channel)  # a server's socket that was closed under it
            return None
        return channel

    def _watch(self, fd: int) -> Watch:
        channel = self._channel(fd)
        if isinstance(channel, Watch):
            watched = channel.fileobj
            if isinstance(watched, socket.socket) and watched.fileno() != fd:
                # Closed without remove_reader or remove_writer, and the number is another socket's by now.
                channel.fileobj = None
                if channel.reader is not None:
                    channel.clear_reader()
                if channel.writer is not None:
                    channel.clear_writer()
            return channel
        if channel is None or not channel.added:
            return Watch(self, fd)
        self._check_not_a_transport(fd)
        # A transport's that is closing and still has to send: as on asyncio, where both go by the same number. Here each has
        # one of its own in the epoll set, and neither takes the other's registration.
        companion = self.reactor.companions.get(fd)
        if isinstance(companion, Watch):
            return companion
        watch = Watch(self, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0))
        watch.number = fd
        self.reactor.companions[fd] = watch
        return watch

    def _registered(self, fileobj: Any) -> Channel | None:
        """What is registered for a descriptor or file object. ValueError for what is neither and was never registered."""
        try:
            fd = _descriptor_of(fileobj)
            return self.reactor.companions.get(fd) or self.reactor.find(fd)
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
        channel = self._channel(fd)
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
        if watch.added and watch.owner is not None and watch.owner is not sock:
            if watch.owner.fileno() != fd:
                watch.lose(errno.EBADF)  # closed without a word, and the number is another socket's by now
            if not watch.waits():
                watch.forget()
                watch = self._watch(fd)
        return watch

    async def _receive(
        self, sock: Any, call: Callable[..., T], args: tuple[Any, ...], full: int = UNKNOWN, message: str = ""
    ) -> T:
        """What ``call(*args)`` returns, tried until it no longer raises BlockingIOError; for the rest see Watch.receive."""
        watch = self.reactor.find(sock.fileno())
        if not isinstance(watch, Watch) or not watch.is_empty(sock):
            try:
                return call(*args)
            except (BlockingIOError, InterruptedError):
                watch = self._socket_watch(sock)
        done: asyncio.Future[T] = watch.receive(sock, call, args, full, message)
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
        return await self._receive(sock, sock.recv, (nbytes,), nbytes, "recvmsg")

    async def sock_recv_into(self, sock: socket.socket, buf: Any) -> int:
        """Receive into a writable buffer; the count of bytes."""
        self._check_socket(sock)
        size = len(buf) if type(buf) is bytearray else memoryview(buf).nbytes
        return await self._receive(sock, sock.recv_into, (buf,), size, "recvmsg_into")

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram of at most ``bufsize`` bytes; the data and the sender's address."""
        self._check_socket(sock)
        return await self._receive(sock, sock.recvfrom, (bufsize,))

    async def sock_recvfrom_into(self, sock: socket.socket, buf: Any, nbytes: int = 0) -> tuple[int, Any]:
        """Receive a datagram into a buffer, at most ``nbytes`` (0: its length); the count and the sender's address."""
        self._check_socket(sock)
        return await self._receive(sock, sock.recvfrom_into, (buf, nbytes or memoryview(buf).nbytes))

    async def sock_sendall(self, sock: socket.socket, data: Any) -> None:
        """Send all of the data. After an exception nothing says how much of it went."""
        self._check_socket(sock)
        self.reactor.request_poll()
        try:
            sent = sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        else:
            if type(data) is bytes and sent == len(data):
                return
        view = memoryview(data)
        if sent == view.nbytes:
            return
        view = view.cast("B")

        def send_on() -> None:
            nonlocal sent
            sent += sock.send(view[sent:])
            if sent < len(view):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        await self._until_writable(sock, send_on)

    async def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> int:
        """Send a datagram; the count of bytes."""
        self._check_socket(sock)
        self.reactor.request_poll()
        try:
            return sock.sendto(data, address)
        except (BlockingIOError, InterruptedError):
            return await self._until_writable(sock, lambda: sock.sendto(data, address))

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to an address; a host name is looked up first. Raises OSError.

        A Unix socket whose peer's backlog is full is tried again until there is room, as a blocking connect(2) waits for it;
        there is no time limit but the caller's.
        """
        self._check_socket(sock)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            infos = await self._resolve(address, family=sock.family, type=sock.type, proto=sock.proto)
            address = infos[0][4]
        self.reactor.request_poll()
        pause = BACKLOG_SECONDS
        while True:
            try:
                sock.connect(address)
            except (BlockingIOError, InterruptedError) as exc:
                if exc.errno != errno.EAGAIN:
                    break  # connect(2): goes on in the background, after EINTR too
                if sock.family != socket.AF_UNIX:
                    raise
            else:
                return
            # connect(2): nothing goes on, the backlog is full, and no event will tell when it has room.
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_BACKLOG_SECONDS)

        def outcome() -> None:
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"Connect call failed {address}")
            try:
                sock.getpeername()
            except OSError as exc:
                if exc.errno != errno.ENOTCONN:
                    raise
            else:
                return
            # An event of before the call (rule 9), or a failure that somebody else was told: connect(2) says EALREADY, which
            # is a BlockingIOError, or what has become of it.
            try:
                sock.connect(address)
            except OSError as exc:
                if exc.errno == errno.EISCONN:
                    return
                if isinstance(exc, BlockingIOError):
                    raise
                raise OSError(exc.errno, f"Connect call failed {address}") from None

        await self._until_writable(sock, outcome)

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection on a listening socket; a non-blocking socket and the peer's address."""
        self._check_socket(sock)
        conn, address = await self._receive(sock, sock.accept, ())
        conn.setblocking(False)
        return conn, address
