"""Pipes, FIFOs, character devices and sockets in one direction: what both have in common, and reading.

asyncio doc: Working with pipes. Writing is in pipe_writing.py.
"""

from __future__ import annotations

import asyncio
import contextvars
import fcntl
import os
import select
import socket
import stat
import warnings
from typing import Any

from .. import kernel, kernel_pipes, stdlib
from ..reactor import Channel, Reactor
from ..schedule import Scheduler


class _ReadFace(asyncio.ReadTransport):
    """What ``isinstance`` sees of a ReadPipeTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


def _is_byte_stream(fd: int, mode: int) -> bool:
    # Whether neighbouring writes may become one, and a read that fills less than its buffer has emptied the file. Not
    # so for a device, where a terminal gives a line at a time, nor for what keeps packets apart: some sockets, and
    # pipes whose writing end has O_DIRECT, pipe(2).
    if stat.S_ISFIFO(mode):
        return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT
    if stat.S_ISSOCK(mode):
        sock = socket.socket(fileno=fd)
        try:
            return sock.type == socket.SOCK_STREAM
        finally:
            sock.detach()
    return False


class PipeTransport(Channel):
    """What the two directions share: who owns the file, and how it ends. ``pipe`` is a file object, closed at the end.

    ``connection_made`` comes in the next turn, then ``waiter`` is told. The descriptor is made non-blocking, which
    everybody notices with whom its open file description is shared.
    """

    def __init__(
        self,
        loop: Scheduler,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None,
        refusal: str,
    ) -> None:
        self._pipe: Any = None
        fd = pipe.fileno()
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
            raise ValueError(refusal)
        reactor: Reactor = loop.reactor
        # The other direction of the same file may be registered already, and epoll takes a descriptor only once.
        self._duplicated = reactor.find(fd) is not None
        if self._duplicated:
            fd = os.dup(fd)
        Channel.__init__(self, fd)
        os.set_blocking(fd, False)
        self._loop = loop
        self._reactor = reactor
        self._pipe = pipe
        self._extra: dict[str, Any] = {"pipe": pipe}
        self._protocol: Any = protocol
        self._context = contextvars.copy_context()
        self._device = stat.S_ISCHR(mode)
        self._fifo = stat.S_ISFIFO(mode)
        self._stream = _is_byte_stream(fd, mode)
        self._closing = False
        self._lost = False  # connection_lost is on its way
        loop.call_soon(self._begin, waiter, context=self._context)

    def _begin(self, waiter: asyncio.Future[None] | None) -> None:
        try:
            self._protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "Fatal error: protocol.connection_made() call failed.")
        if not self._lost and self._pipe is not None:
            try:
                self._register()
            except PermissionError:
                # epoll refuses what has no poll: a file that never blocks, such as /dev/null. The leftover list serves.
                self.added = True
                self.readable = True
                self._reactor.defer(self)
            except OSError as exc:
                self._fatal_error(exc, "Fatal error: epoll refused the pipe")
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _register(self) -> None:
        raise NotImplementedError

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``pipe``: the file object."""
        return self._extra.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the pipe to another protocol."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol in charge; None when the connection is over."""
        return self._protocol  # type: ignore[no-any-return]

    def is_closing(self) -> bool:
        """Whether the transport closes or is closed."""
        return self._closing

    def _lose(self, exc: BaseException | None) -> None:
        # connection_lost comes once, in the next turn.
        if self._lost:
            return
        self._closing = True
        self._lost = True
        self._loop.call_soon(self._call_connection_lost, exc, context=self._context)

    def _fatal_error(self, exc: BaseException, message: str) -> None:
        if self._is_ordinary(exc):
            if self._loop._debug:
                stdlib.logger().debug("%r: %s", self, message, exc_info=exc)
        else:
            self._report(exc, message)
        self._lose(exc)

    def _is_ordinary(self, exc: BaseException) -> bool:
        # An error that belongs to the life of a pipe: connection_lost tells it, and nobody else needs to know.
        return isinstance(exc, OSError)

    def _report(self, exc: BaseException, message: str) -> None:
        self._loop._report_within(
            self._context, {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
        )

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        if self._pipe is None:
            return
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._release()
            self._protocol = None

    def _release(self) -> None:
        pipe = self._pipe
        self._pipe = None
        self._reactor.remove(self)
        if self._duplicated:
            kernel.close(self.fd)
        self.fd = -1
        pipe.close()

    def __del__(self) -> None:
        if getattr(self, "_pipe", None) is not None:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            self._release()

    def _state(self, polling: bool) -> str:
        if self._pipe is None:
            return "closed"
        if self._loop._closed:
            return "open"
        return ("closing " if self._closing else "") + ("polling" if polling else "idle")


class ReadPipeTransport(PipeTransport):
    """The reading end: an asyncio.ReadTransport. Raises ValueError for a file that is no pipe, socket or device."""

    def __init__(
        self,
        loop: Scheduler,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
    ) -> None:
        PipeTransport.__init__(self, loop, pipe, protocol, waiter, "Pipe transport is for pipes/sockets only.")
        self._paused = False

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.ReadTransport]:  # type: ignore[override]
        return _ReadFace

    def _register(self) -> None:
        self._reactor.add(self, kernel.INTEREST_READ)

    def on_ready(self) -> None:
        """Read one buffer (rule 3)."""
        if self.readable and not self._paused and not self._closing:
            self._read()

    def _read(self) -> None:
        try:
            data = kernel_pipes.read(self.fd)
        except OSError as exc:
            self._fatal_error(exc, "Fatal read error on pipe transport")
            return
        if data is None:
            self.readable = False
            self.hung = False
            return
        if not data:
            if self._loop._debug:
                stdlib.logger().info("%r was closed by peer", self)
            self._closing = True
            self._loop.call_soon(self._protocol.eof_received, context=self._context)
            self._lose(None)
            return
        if not self.hung and self._is_emptied_by(len(data)):
            self.readable = False
        else:
            self._reactor.defer(self)
        try:
            kernel.call_one(self._context, self._protocol.data_received, data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "Exception in protocol.data_received() of a pipe")

    def _is_emptied_by(self, size: int) -> bool:
        # Whether a read of that size has left nothing behind.
        if not self._stream or size == kernel.READ_SIZE:
            return False
        # A packet is as large as PIPE_BUF at most, and only the writing end knows whether there are packets: pipe(2).
        return not self._fifo or size > select.PIPE_BUF or not kernel_pipes.unread(self.fd)

    def _is_ordinary(self, exc: BaseException) -> bool:
        return isinstance(exc, OSError) and exc.errno == kernel_pipes.terminal_gone

    def is_reading(self) -> bool:
        """Whether data goes to the protocol now."""
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        """Stop handing data to the protocol. Does nothing if reading is paused or the transport closes."""
        if self._paused or self._closing:
            return
        self._paused = True  # no system call (rule 7): what arrives meanwhile waits in the kernel
        if self._loop._debug:
            stdlib.logger().debug("%r pauses reading", self)

    def resume_reading(self) -> None:
        """Undo ``pause_reading``. Does nothing if reading isn't paused or the transport closes."""
        if self._closing or not self._paused:
            return
        self._paused = False
        if self.readable and self.added:
            self._reactor.defer(self)
        if self._loop._debug:
            stdlib.logger().debug("%r resumes reading", self)

    def close(self) -> None:
        """Stop reading and call ``connection_lost(None)``."""
        self._lose(None)

    def __repr__(self) -> str:
        return f"<ReadPipeTransport fd={self.fd} {self._state(self.is_reading())}>"
