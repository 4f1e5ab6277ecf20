"""Pipes, FIFOs, character devices and sockets in one direction. asyncio doc: Working with pipes."""

from __future__ import annotations

import asyncio
import contextvars
import fcntl
import io
import os
import socket
import stat
from collections.abc import Iterable
from typing import Any

from .. import stdlib
from ..core.channel import Channel
from ..core.schedule import Scheduler
from ..kernel import calls, interpreter, pipes
from ..kernel.connection_socket import borrowed_socket
from ..watching.layout import READ_PIPE, WRITE_PIPE
from . import base
from .base import BaseTransport
from .flow import WriteHalf


class _AsyncioReadTransport(asyncio.ReadTransport):
    """What ``isinstance`` sees of a ReadPipeTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class _AsyncioWriteTransport(asyncio.Transport):
    """What ``isinstance`` sees of a WritePipeTransport."""

    __slots__ = ()


def _is_byte_stream(fd: int, mode: int) -> bool:
    # Whether neighbouring writes may become one. Not so for a device, nor for what keeps packets apart: some sockets,
    # and pipes whose writing end has O_DIRECT, pipe(2).
    if stat.S_ISFIFO(mode):
        return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT
    if stat.S_ISSOCK(mode):
        sock = borrowed_socket(fd)
        try:
            return sock.type == socket.SOCK_STREAM
        finally:
            sock.detach()
    return False


def _innermost(pipe: Any) -> Any:
    # The object that closes the descriptor: the others may be detached from it, and their fileno() asks it anyway.
    if isinstance(pipe, io.TextIOWrapper):
        pipe = pipe.buffer
    if isinstance(pipe, (io.BufferedReader, io.BufferedWriter, io.BufferedRandom)):
        pipe = pipe.raw
    return pipe


class PipeFile:
    """The file of a pipe transport: the file object that was given, and the descriptor to use.

    The file object owns the descriptor, this object owns the duplicate if there is one, and the transport closes both at
    the end. Whoever else has the file object may close it before: it is asked for its number before each system call
    (rule 9). The descriptor is made non-blocking, for everybody who shares its open file description. Raises ValueError
    for a file that is no pipe, socket or device.
    """

    def __init__(self, loop: Scheduler, pipe: Any, refusal: str) -> None:
        fd = pipe.fileno()
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
            raise ValueError(refusal)
        # The other direction of the same file may be registered already, and epoll takes a descriptor only once.
        duplicated = loop.reactor.find(fd) is not None
        if duplicated:
            fd = os.dup(fd)
        self.pipe = pipe
        self.owner = _innermost(pipe)
        self.fd = fd
        self.duplicated = duplicated  # then the duplicate is nobody else's
        try:
            os.set_blocking(fd, False)
            self.device = stat.S_ISCHR(mode)
            self.fifo = stat.S_ISFIFO(mode)
            self.byte_stream = _is_byte_stream(fd, mode)
        except BaseException:
            if duplicated:
                calls.close(fd)
            raise

    def _begin(
        self, transport: BaseTransport, protocol: asyncio.BaseProtocol, waiter: asyncio.Future[None] | None
    ) -> None:
        # Schedule ``connection_made``; from then on the file is the transport's.
        try:
            transport._protocol = protocol
            if not self.duplicated:
                transport._ask = self._number
            transport._loop.call_soon(transport.begin, waiter, context=transport._context)
        except BaseException:
            if self.duplicated:
                calls.close(self.fd)
            raise
        transport.fd = self.fd  # last: from here on it is the transport that closes it, however it ends

    def _number(self) -> int:
        # What the file object has, -1 once it is closed.
        try:
            return self.owner.fileno()  # type: ignore[no-any-return]
        except ValueError:
            return -1

    def _replace(self, transport: BaseTransport, pipe: Any) -> None:
        # asyncio's own tests put None here when the loop is closed, to have the file left alone.
        self.pipe = pipe
        if pipe is None and transport._loop._closed:
            transport.fd = -1

    def _close(self) -> None:
        if self.duplicated:
            calls.close(self.fd)
        if self.pipe is not None:
            self.pipe.close()


class ReadPipeTransport(BaseTransport):
    """The reading end: an asyncio.ReadTransport. Raises ValueError for a file that is no pipe, socket or device.

    It owns the file object and closes it at the end. ``connection_made`` comes in the next turn, then ``waiter`` is
    resolved.
    """

    def __init__(
        self,
        loop: Scheduler,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
    ) -> None:
        Channel.__init__(self, -1)
        self.kind = READ_PIPE
        file = PipeFile(loop, pipe, "Pipe transport is for pipes/sockets only.")
        self._start(loop, contextvars.copy_context(), calls.INTEREST_READ)
        self._file = file  # set once
        file._begin(self, protocol, waiter)

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.ReadTransport]:  # type: ignore[override]
        return _AsyncioReadTransport

    @property
    def _pipe(self) -> Any:
        """The file object, None once it is closed, as asyncio's transports have it."""
        return self._file.pipe if self.fd >= 0 else None

    @_pipe.setter
    def _pipe(self, pipe: Any) -> None:
        self._file._replace(self, pipe)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``pipe``: the file object."""
        return self._file.pipe if name == "pipe" else default

    def on_ready(self) -> None:
        """Read one buffer (rule 3)."""
        if self.readable and not self._paused and self._state == base.OPEN:
            self._read()

    def _read(self) -> None:
        try:
            data = pipes.read(self._number(), self._file.device)
            emptied = data is None or self._is_emptied_by(len(data))
            self._reactor.counts.read += 1
            if data:
                # Here, for there may be no memory for the method: nothing may be delivered after a gap.
                data_received = getattr(self._protocol, "data_received", None)
                self._reactor.counts.bytes_in += len(data)
                if emptied:
                    self.readable = False
                else:
                    self._reactor.defer(self)
        except BaseException as exc:
            self._fatal_error(exc, "Fatal read error on pipe transport")
            return
        if data is None:
            self.readable = False
            self.hangup = False
            return
        if not data:
            if self._loop._debug:
                stdlib.logger().info("%r was closed by peer", self)
            if self._state == base.OPEN:  # else a signal handler has ended it while this read
                self._state = base.CLOSING
            try:
                self._loop.call_soon(self._call_eof_received, context=self._context)
            finally:
                self._force_close(None)
            return
        try:
            if data_received is None:
                data_received = self._protocol.data_received  # AttributeError, reported
            interpreter.call_one(self._context, data_received, data)
        except BaseException as exc:
            self._report(exc, "Exception in a callback of the pipe protocol")

    def _is_emptied_by(self, size: int) -> bool:
        # Whether a read of that size has left nothing behind. The size alone never says so: packets, descriptors that
        # come along, urgent data and a terminal's lines each end a read (rule 2). A pipe can be asked, for one system
        # call; what else there is is read until it would block.
        return self._file.fifo and not self.hangup and 0 < size < calls.READ_SIZE and not pipes.unread(self.fd)

    def _call_eof_received(self) -> None:
        if self._protocol is not None:
            self._protocol.eof_received()

    def _is_ordinary(self, exc: BaseException) -> bool:
        return isinstance(exc, OSError) and exc.errno == pipes.terminal_gone

    def close(self) -> None:
        """Stop reading and call ``connection_lost(None)``."""
        self._force_close(None)

    def _give_back(self, fd: int) -> None:
        self._file._close()

    def __repr__(self) -> str:
        return f"<ReadPipeTransport fd={self.fd} {_describe(self, self.is_reading())}>"


class WritePipeTransport(WriteHalf):
    """The writing end: an asyncio.WriteTransport. Raises ValueError for a file that is no pipe, socket or device.

    It owns the file object and closes it at the end. ``connection_made`` comes in the next turn, then ``waiter`` is
    resolved. When the last reader closes its end, ``connection_lost`` is called without waiting for a write: with
    BrokenPipeError if that loses data, else with None. A character device has no such end: its other side may be opened
    again.
    """

    _kind = "pipe"

    def __init__(
        self,
        loop: Scheduler,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
    ) -> None:
        Channel.__init__(self, -1)
        self.kind = WRITE_PIPE
        file = PipeFile(loop, pipe, "Pipe transport is only for pipes, sockets and character devices")
        self._start(loop, contextvars.copy_context(), calls.INTEREST_HANGUP)
        self._file = file  # set once
        file._begin(self, protocol, waiter)

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Transport]:  # type: ignore[override]
        return _AsyncioWriteTransport

    @property
    def _pipe(self) -> Any:
        """The file object, None once it is closed, as asyncio's transports have it."""
        return self._file.pipe if self.fd >= 0 else None

    @_pipe.setter
    def _pipe(self, pipe: Any) -> None:
        self._file._replace(self, pipe)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``pipe``: the file object."""
        return self._file.pipe if name == "pipe" else default

    def on_ready(self) -> None:
        """The reader is gone, or there is room again."""
        if self.hangup and not self._file.device:
            self._reader_gone()
        elif self.writable:
            self._use_room()

    def _reader_gone(self) -> None:
        if self._state >= base.LOST:
            return
        if self._loop._debug:
            stdlib.logger().info("%r was closed by peer", self)
        self._force_close(BrokenPipeError() if self._write_buffer else None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data, after what was written before. Never blocks. TypeError for what is not bytes-like.

        Once the transport closes, data is dropped, and from the sixth time on a warning is logged.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if type(data) is not bytes:
            data = interpreter.to_bytes(data)  # its owner may change it before it leaves
        if not data:
            return
        if self._state != base.OPEN:
            self._count_lost_write("pipe closed by peer or os.write(pipe, data) raised exception.")
            return
        self._append(data, len(data))
        if self.writable:
            self._send()
            if self._protocol_paused:
                self._reactor.schedule_flush(self)
        if self._write_buffer_size > self._high_water:
            self._maybe_pause_protocol()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write the chunks joined to one."""
        self.write(b"".join(list_of_data))

    def _send_write_buffer(self) -> None:
        # One write by itself, since what is atomic stays so: pipe(7), PIPE_BUF. Only EAGAIN says that there is no room.
        while self._write_buffer:
            chunks = len(self._write_buffer)
            if chunks > 1 and self._file.byte_stream:
                count = pipes.write_many(self._number(), self._file.device, self._write_buffer)
            else:
                count = pipes.write(self._number(), self._file.device, self._write_buffer[0])
            self._reactor.counts.write += 1
            if count < 0:
                self._wait_writable()
                return
            self._reactor.counts.bytes_out += count
            self._drop_sent(count, chunks)

    def can_write_eof(self) -> bool:
        """True: that is what closing a pipe is."""
        return True

    def write_eof(self) -> None:
        """The same as ``close``: a pipe's end of file is the closing of its writing end."""
        self.close()

    def abort(self) -> None:
        """Close without waiting: what the kernel won't take at once is lost."""
        self._force_close(None)

    def _give_back(self, fd: int) -> None:
        self._file._close()

    # The reading half of asyncio.Transport, which asyncio's own is as well: there is none.

    def is_reading(self) -> bool:
        """Not here: NotImplementedError."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Not here: NotImplementedError."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Not here: NotImplementedError."""
        raise NotImplementedError

    def __repr__(self) -> str:
        state = _describe(self, bool(self._write_buffer))
        return f"<WritePipeTransport fd={self.fd} {state} bufsize={self._write_buffer_size}>"


def _describe(transport: BaseTransport, polling: bool) -> str:
    if transport.fd < 0:
        return "closed"
    if transport._loop._closed:
        return "open"
    return ("closing " if transport._state != base.OPEN else "") + ("polling" if polling else "idle")
