"""``sendfile`` and ``sock_sendfile``: from the page cache to the socket, sendfile(2). asyncio doc: Event Loop.

Where sendfile(2) can't do it (no regular file, no descriptor, bytes to be encrypted) a thread reads the file, and its bytes
are written like any others.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from ..core.failures import raise_interruption
from ..transports.pipe import WritePipeTransport
from ..transports.stream import StreamTransport
from ..watching.figures import Figures
from ..watching.layout import PLACES
from .sockcalls import SocketCalls

# The limit of one sendfile(2), one of which is made in a turn, so that a fast peer doesn't keep the others waiting (rule 3).
# Measured on loopback: of 64 KiB and more a MiB takes twice the CPU time, of 16 KiB too (docs/performance.md).
MAX_AT_ONCE = 49152
READ_SIZE = 262144  # of the fallback

_SENDFILE = PLACES["sendfile"]
_BYTES_OUT = PLACES["bytes_out"]


def _check_arguments(sock: Any, file: Any, offset: Any, count: Any) -> None:
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    if count is not None:
        if not isinstance(count, int):
            raise TypeError(f"count must be a positive integer (got {count!r})")
        if count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
    if not isinstance(offset, int):
        raise TypeError(f"offset must be a non-negative integer (got {offset!r})")
    if offset < 0:
        raise ValueError(f"offset must be a non-negative integer (got {offset!r})")


# Bound at import: tools that look for blocking calls, such as blockbuster in the suites of aiohttp and Starlette, replace
# it in os, and let asyncio's files alone call it.
_sendfile = os.sendfile


class _Sending:
    """A file that is being sent to a socket, and how much of it was.

    It owns neither. Their owners may close them meanwhile, and a number that was kept would be another file's then: each
    step asks both for their descriptor (rule 9).
    """

    def __init__(self, sock: Any, file: Any, offset: int, count: int | None, figures: Figures) -> None:
        try:
            os.fstat(file.fileno())
        except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
            raise asyncio.SendfileNotAvailableError("not a regular file") from None
        self._figures = figures
        self._sock = sock
        self._file = file
        self._offset = offset
        self._left = count
        self.sent = 0
        self._complete = False

    def step(self, limit: int = MAX_AT_ONCE) -> bool:
        """Send one piece of at most ``limit`` bytes. Return True if it was the last.

        Raise BlockingIOError if the socket takes nothing now, OSError (EBADF) if it is closed, ValueError, as the file's own
        methods, if the file is.
        """
        size = limit if self._left is None else min(self._left - self.sent, limit)
        file_fd = self._file.fileno()
        fd = self._sock.fileno()
        if fd < 0:
            if self._left is None and not self.sent and not os.fstat(file_fd).st_size:
                self._complete = True  # of an empty file, asyncio's doesn't ask the socket
                return True
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._figures.add(_SENDFILE)
        try:
            sent = _sendfile(fd, file_fd, self._offset + self.sent, size)
        except (BlockingIOError, ConnectionError):
            raise
        except OSError as exc:
            # EINVAL, ENOSYS, ESPIPE, EOVERFLOW and a file system's own: if nothing was sent yet, the fallback may do. It
            # meets EBADF and ENOTCONN again.
            if self.sent == 0:
                raise asyncio.SendfileNotAvailableError("os.sendfile call failed") from exc
            raise
        self.sent += sent
        self._figures.add(_BYTES_OUT, sent)
        self._complete = sent == 0 or self.sent == self._left
        return self._complete

    def leave(self) -> None:
        """Set the file's position behind the last byte that was sent, as asyncio does. A closed file has none."""
        if self.sent or self._complete:
            try:
                file_fd = self._file.fileno()
            except ValueError:
                return
            os.lseek(file_fd, self._offset + self.sent, os.SEEK_SET)


class _FallbackProtocol(asyncio.Protocol):
    """Takes the place of a transport's protocol while a file is written to it, to wait while the buffer is full."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._resumed: asyncio.Future[None] | None = None
        self._was_reading = transport.is_reading()
        transport.pause_reading()
        transport.set_protocol(self)

    def restore(self) -> None:
        """Give the transport back to its protocol."""
        self._transport.set_protocol(self._protocol)
        if self._was_reading:
            self._transport.resume_reading()

    async def wait_writable(self) -> None:
        """Wait until the write buffer is below its high-water mark. ConnectionError if the transport closes."""
        if self._transport.is_closing():
            raise ConnectionError("Connection closed by peer")
        if self._transport.get_write_buffer_size() > self._transport.get_write_buffer_limits()[1]:
            self._resumed = asyncio.get_running_loop().create_future()
            try:
                await self._resumed
            finally:
                self._resumed = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raise RuntimeError("Invalid state: connection should have been established already.")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_exception(exc or ConnectionError("Connection is closed by peer"))
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)
        self._protocol.resume_writing()

    def data_received(self, data: bytes) -> None:
        raise RuntimeError("Invalid state: reading should be paused")

    def eof_received(self) -> None:
        raise RuntimeError("Invalid state: reading should be paused")


class SendFiles(SocketCalls):
    """Sending files, as a mixin of EventLoop. The file and the socket stay their owners'."""

    async def sock_sendfile(
        self, sock: socket.socket, file: Any, offset: int = 0, count: int | None = None, *, fallback: bool | None = True
    ) -> int:
        """Send ``count`` bytes (None: up to its end) of a file from ``offset`` on; return how many were sent.

        The file, opened in binary mode, is left positioned behind them, after an exception too. Without ``fallback`` it
        raises asyncio.SendfileNotAvailableError where sendfile(2) can't do it. ValueError and TypeError for wrong
        arguments, OSError from the socket.
        """
        self._check_socket(sock)
        _check_arguments(sock, file, offset, count)
        try:
            return await self._sock_sendfile_native(sock, file, offset, count)
        except asyncio.SendfileNotAvailableError:
            if not fallback:
                raise
        return await self._sock_sendfile_fallback(sock, file, offset, count)

    async def _sock_sendfile_native(self, sock: socket.socket, file: Any, offset: int, count: int | None) -> int:
        sending = _Sending(sock, file, offset, count, self.reactor.figures)

        def send_on() -> int:
            self.reactor.request_poll()
            if sending.step():
                return sending.sent
            raise InterruptedError  # the socket may take more, but the rest waits for another turn (rule 3)

        try:
            try:
                return send_on()
            except (BlockingIOError, InterruptedError):
                return await self._until_writable(sock, send_on)
        finally:
            sending.leave()

    async def _sock_sendfile_fallback(self, sock: socket.socket, file: Any, offset: int, count: int | None) -> int:
        async def write(data: memoryview) -> None:
            await self.sock_sendall(sock, data)

        return await self._copy(file, offset, count, write)

    async def sendfile(
        self,
        transport: asyncio.WriteTransport,
        file: Any,
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int:
        """Send ``count`` bytes (None: up to its end) of a file from ``offset`` on, after what was written.

        Returns how many were sent. The file, opened in binary mode, is left positioned behind them, after an exception too.
        RuntimeError for a transport that closes or that can't send files; without ``fallback`` also for an encrypted
        one, and asyncio.SendfileNotAvailableError where sendfile(2) can't do it. ConnectionError if the connection is
        lost. While sendfile(2) is at work the transport's ``write`` raises RuntimeError, and it does not read.
        """
        if transport.is_closing():
            raise RuntimeError("Transport is closing")
        mode = _mode(transport)
        if mode == "UNSUPPORTED":
            raise RuntimeError(f"sendfile is not supported for transport {transport!r}")
        if mode == "TRY_NATIVE":
            try:
                return await self._sendfile_native(transport, file, offset, count)
            except asyncio.SendfileNotAvailableError:
                if not fallback:
                    raise
        if not fallback:
            raise RuntimeError(f"fallback is disabled and native sendfile is not supported for transport {transport!r}")
        return await self._sendfile_fallback(transport, file, offset, count)

    async def _sendfile_native(self, transport: Any, file: Any, offset: int, count: int | None) -> int:
        if not isinstance(transport, StreamTransport):
            raise asyncio.SendfileNotAvailableError("sendfile syscall is not supported")
        sock = transport.open_socket()
        _check_arguments(sock, file, offset, count)
        sending = _Sending(sock, file, offset, count, self.reactor.figures)
        emptied = transport.make_empty_waiter()
        was_reading = transport.is_reading()
        transport.pause_reading()
        try:
            await emptied
            return await self._drive(transport, sending)
        finally:
            transport.reset_empty_waiter()
            if was_reading:
                transport.resume_reading()
            sending.leave()  # last: a file may refuse it

    async def _drive(self, transport: StreamTransport, sending: _Sending) -> int:
        done: asyncio.Future[int] = self.create_future()

        def send_on() -> None:
            # The transport calls it in a turn in which the socket is writable.
            if done.done():
                return
            try:
                if transport.fd < 0:
                    raise ConnectionError("Connection is closed by peer")
                limit = transport.may_send(MAX_AT_ONCE)
                before = sending.sent
                complete = limit > 0 and sending.step(limit)
                transport.count_sent(sending.sent - before)
                if complete:
                    done.set_result(sending.sent)
                else:
                    transport.set_sender(send_on)  # the rest in another turn
            except BlockingIOError:
                transport.wait_writable()
                transport.set_sender(send_on)
            except BaseException as exc:
                raise_interruption(exc)
                done.set_exception(exc)

        try:
            send_on()
            return await done
        finally:
            transport.set_sender(None)

    async def _sendfile_fallback(self, transport: Any, file: Any, offset: int, count: int | None) -> int:
        protocol = _FallbackProtocol(transport)

        async def write(data: memoryview) -> None:
            await protocol.wait_writable()
            transport.write(data)

        try:
            sent = await self._copy(file, offset, count, write)
            if sent:
                await protocol.wait_writable()
            return sent
        finally:
            protocol.restore()

    async def _copy(self, file: Any, offset: int, count: int | None, write: Callable[[memoryview], Any]) -> int:
        """Read the file in a thread and pass it to ``write``, a coroutine function. Return the number of bytes."""
        can_seek = hasattr(file, "seek") and (not hasattr(file, "seekable") or file.seekable())
        if can_seek:
            file.seek(offset)
        buffer = memoryview(bytearray(READ_SIZE if count is None else min(count, READ_SIZE)))
        sent = 0
        try:
            while count is None or sent < count:
                chunk = buffer if count is None else buffer[: count - sent]
                size = await self.run_in_executor(None, file.readinto, chunk)
                if not size:
                    break
                await write(chunk[:size])
                sent += size
            return sent
        finally:
            if can_seek:
                file.seek(offset + sent)


_NO_STREAMS = (asyncio.DatagramTransport, WritePipeTransport)  # though they are instances of asyncio.Transport


def _mode(transport: Any) -> str:
    # How files are sent by a transport; asyncio's own transports have an attribute for it.
    if isinstance(transport, StreamTransport):
        return "TRY_NATIVE"
    said = getattr(transport, "_sendfile_compatible", None)
    if said is not None:
        return str(said.name)
    is_stream = isinstance(transport, asyncio.Transport) and not isinstance(transport, _NO_STREAMS)
    return "FALLBACK" if is_stream else "UNSUPPORTED"
