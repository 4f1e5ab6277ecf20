"""``add_reader``, ``add_writer`` and the ``sock_*`` coroutines. asyncio doc: Working with socket objects directly.

Each coroutine tries its system call first, and waits for the descriptor only if the call would block. The socket stays
the caller's; its registration outlives the call by a few turns (registration.py).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import operator
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from ..core.channel import Channel
from ..kernel import sockets
from ..watching.layout import PLACES
from .resolver import Resolver
from .watch import NO_BYTES, UNKNOWN, Watch, byte_count

T = TypeVar("T")

_ACCEPT = PLACES["accept"]
_ACCEPTS = PLACES["accepts"]

# The pause before connect(2) to a Unix socket with a full backlog is tried again; doubled each time up to the maximum.
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
    """Raise TypeError for an ssl.SSLSocket: its reads and writes are not the descriptor's."""
    if isinstance(sock, ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")


class SocketCalls(Resolver):
    """Descriptors and sockets that the program owns, as a mixin of EventLoop. For the loop's thread alone."""

    # Readers and writers

    def _channel(self, fd: int) -> Channel | None:
        """Return the channel that is registered under a number, None if there is none or the number isn't its any more."""
        channel = self.reactor.find(fd)
        listening = getattr(channel, "sock", None)
        if channel is not None and listening is not None and listening.fileno() != fd:
            self.reactor.remove(channel)  # a listener whose socket was closed without a word
            return None
        return channel

    def _watch(self, fd: int) -> Watch:
        channel = self._channel(fd)
        if isinstance(channel, Watch):
            watched = channel.fileobj
            if isinstance(watched, socket.socket) and watched.fileno() != fd:
                # Closed without remove_reader or remove_writer; the number is another socket's by now.
                channel.fileobj = None
                if channel.reader is not None:
                    channel.clear_reader()
                if channel.writer is not None:
                    channel.clear_writer()
            return channel
        if channel is None or not channel.added:
            return Watch(self, fd)
        self._check_not_a_transport(fd)
        # A closing transport that still has to send. asyncio allows both under one number. Here each has a descriptor of its
        # own in the epoll set, so that neither takes the other's registration (rule 9).
        companion = self.reactor.companions.get(fd)
        if isinstance(companion, Watch):
            return companion
        watch = Watch(self, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0))
        watch.number = fd
        self.reactor.companions[fd] = watch
        return watch

    def _registered(self, fileobj: Any) -> Channel | None:
        """Return the channel of a descriptor or file object. ValueError for what is neither and was never registered."""
        try:
            fd = _descriptor_of(fileobj)
            return self.reactor.companions.get(fd) or self.reactor.find(fd)
        except ValueError:
            # A closed file object no longer knows its number. None is what the watches of sock_* calls have.
            for channel in self.reactor.channels:
                if isinstance(channel, Watch) and channel.fileobj is fileobj and fileobj is not None:
                    return channel
            raise

    def _check_not_a_transport(self, fd: Any) -> None:
        if not isinstance(fd, int):
            try:
                fd = fd.fileno()
            except (AttributeError, TypeError, ValueError):
                return  # add_reader raises what fits
            if not isinstance(fd, int):
                return
        channel = self._channel(fd)
        if channel is not None and not isinstance(channel, Watch) and not getattr(channel, "is_gone", bool)():
            is_closing = getattr(channel, "is_closing", None)
            if is_closing is None or not is_closing():
                raise RuntimeError(f"File descriptor {fd!r} is used by transport {channel!r}")

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` for as long as the descriptor is readable; replaces the former callback.

        Raises ValueError for what is no descriptor, OSError for one that epoll refuses (PermissionError for a regular
        file), RuntimeError for a transport's.
        """
        self._check_closed()
        self._check_not_a_transport(fd)
        watch = self._watch(_descriptor_of(fd))
        watch.set_reader(callback, args)
        watch.fileobj = fd

    def remove_reader(self, fd: Any) -> bool:
        """Undo ``add_reader``, also for a file object that is closed by now. Return False if there is no callback."""
        self._check_not_a_transport(fd)
        if self._closed:
            return False
        channel = self._registered(fd)
        return isinstance(channel, Watch) and channel.clear_reader()

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` for as long as the descriptor is writable. Replaces and raises as ``add_reader``."""
        self._check_closed()
        self._check_not_a_transport(fd)
        watch = self._watch(_descriptor_of(fd))
        watch.set_writer(callback, args)
        watch.fileobj = fd

    def remove_writer(self, fd: Any) -> bool:
        """Undo ``add_writer``, also for a file object that is closed by now. Return False if there is no callback."""
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
                watch.lose(errno.EBADF)  # closed without a word; the number is another socket's by now
            if not watch.waits():
                watch.forget()
                watch = self._watch(fd)
        return watch

    async def _receive(
        self, sock: Any, call: Callable[..., T], args: tuple[Any, ...], full: int = UNKNOWN, message: str = ""
    ) -> T:
        """Return ``call(*args)``, repeated until it no longer raises BlockingIOError; ``full``, ``message``: Watch.receive."""
        watch = self.reactor.find(sock.fileno())
        if not isinstance(watch, Watch) or not watch.is_empty(sock):
            try:
                result = call(*args)
            except (BlockingIOError, InterruptedError):
                if full != NO_BYTES:
                    self.reactor.has_received(0)
                watch = self._socket_watch(sock)
            else:
                if full != NO_BYTES:
                    self.reactor.has_received(byte_count(result))
                return result
        done: asyncio.Future[T] = watch.receive(sock, call, args, full, message)
        try:
            return await done
        finally:
            watch.leave(done)
            # An exception's traceback holds this frame, and the frame holds the future that holds the exception.
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
        """Receive at most ``nbytes`` bytes; return ``b""`` at the end of the stream."""
        self._check_socket(sock)
        full = nbytes if type(nbytes) is int else operator.index(nbytes)
        return await self._receive(sock, sock.recv, (nbytes,), full, "recvmsg")

    async def sock_recv_into(self, sock: socket.socket, buf: Any) -> int:
        """Receive into a writable buffer; return the number of bytes, 0 at the end of the stream."""
        self._check_socket(sock)
        size = len(buf) if type(buf) is bytearray else sockets.byte_size(buf)
        return await self._receive(sock, sock.recv_into, (buf,), size, "recvmsg_into")

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram of at most ``bufsize`` bytes; return the data and the sender's address."""
        self._check_socket(sock)
        return await self._receive(sock, sock.recvfrom, (bufsize,))

    async def sock_recvfrom_into(self, sock: socket.socket, buf: Any, nbytes: int = 0) -> tuple[int, Any]:
        """Receive a datagram of at most ``nbytes`` (0: what the buffer takes); return its size and the sender's address."""
        self._check_socket(sock)
        return await self._receive(sock, sock.recvfrom_into, (buf, nbytes or sockets.byte_size(buf)))

    async def sock_sendall(self, sock: socket.socket, data: Any) -> None:
        """Send all of the data. After an exception nothing says how much of it was sent."""
        self._check_socket(sock)
        try:
            sent = sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        self.reactor.has_sent(sent)
        if type(data) is bytes and sent == len(data):
            return
        view = memoryview(data)
        if sent < view.nbytes:
            await self._send_on(sock, view.cast("B"), sent)

    async def _send_on(self, sock: socket.socket, view: memoryview, sent: int) -> None:
        # Not in ``sock_sendall``: most calls send all at once, and shall make no cells for what this function changes.
        def send_on() -> None:
            nonlocal sent
            count = sock.send(view[sent:])
            self.reactor.has_sent(count)
            sent += count
            if sent < len(view):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        await self._until_writable(sock, send_on)

    async def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> int:
        """Send a datagram; return the number of bytes."""
        self._check_socket(sock)

        def send() -> int:
            count = sock.sendto(data, address)
            self.reactor.has_sent(count)
            return count

        try:
            return send()
        except (BlockingIOError, InterruptedError):
            return await self._until_writable(sock, send)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to an address; a host name is looked up first. Raises OSError.

        While the backlog of a Unix socket's peer is full it tries again, as a blocking connect(2) would wait; only the caller
        sets a time limit.
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
                    break  # connect(2): it goes on in the background, after EINTR too
                if sock.family != socket.AF_UNIX:
                    raise
            else:
                return
            # connect(2): nothing goes on. The backlog is full, and no event comes when it no longer is.
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
            # The event came before the call (rule 9), or somebody else has read SO_ERROR. connect(2) raises EALREADY, a
            # BlockingIOError, while it goes on, else the outcome.
            try:
                sock.connect(address)
            except OSError as exc:
                if exc.errno == errno.EISCONN:
                    return
                if isinstance(exc, BlockingIOError):
                    raise
                raise OSError(exc.errno, f"Connect call failed {address}") from None

        await self._until_writable(sock, outcome)

    def _close_connecting(self, sock: socket.socket) -> None:
        # Close a socket that the loop has made for ``sock_connect``, whose registration may be kept for the next call. It is
        # taken out before that (rule 1): where a forked process has the file too, the kernel keeps the entry.
        watch = self.reactor.find(sock.fileno())
        if isinstance(watch, Watch) and watch.owner is sock:
            watch.forget()
        sock.close()

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection on a listening socket; return a non-blocking socket and the peer's address."""
        self._check_socket(sock)
        accepted: list[socket.socket] = []
        figures = self.reactor.figures

        def accept() -> tuple[socket.socket, Any]:
            figures.add(_ACCEPT)
            conn, address = sock.accept()
            figures.add(_ACCEPTS)
            accepted.append(conn)
            return conn, address

        try:
            conn, address = await self._receive(sock, accept, (), NO_BYTES)
            conn.setblocking(False)
        except BaseException:
            for conn in accepted:
                conn.close()  # who is cancelled after it has come never gets it
            raise
        finally:
            accepted.clear()  # an exception's traceback holds this frame
        return conn, address
