"""Pipes, FIFOs, character devices and sockets in one direction: what both have in common, and reading.

asyncio doc: Working with pipes. Writing is in pipe_writing.py.
"""

from __future__ import annotations

import asyncio
import contextvars
import fcntl
import io
import os
import socket
import stat
import warnings
from typing import Any

from .. import stdlib
from ..core.failures import raise_interruption
from ..core.reactor import Channel, Reactor
from ..core.schedule import Scheduler
from ..kernel import calls, interpreter, pipes


class _ReadFace(asyncio.ReadTransport):
    """What ``isinstance`` sees of a ReadPipeTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


def _is_byte_stream(fd: int, mode: int) -> bool:
    # Whether neighbouring writes may become one. Not so for a device, nor for what keeps packets apart: some sockets,
    # and pipes whose writing end has O_DIRECT, pipe(2).
    if stat.S_ISFIFO(mode):
        return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT
    if stat.S_ISSOCK(mode):
        sock = socket.socket(fileno=fd)
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


class PipeTransport(Channel):
    """What the two directions share: who owns the file, and how it ends. ``pipe`` is a file object, closed at the end.

    ``connection_made`` comes in the next turn, then ``waiter`` is told. The descriptor is made non-blocking, which
    everybody notices with whom its open file description is shared. Whoever has the file object may close it: before
    each system call it is asked whether it still has this number (rule 9).
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
        duplicated = reactor.find(fd) is not None
        if duplicated:
            fd = os.dup(fd)
        Channel.__init__(self, fd)
        self._duplicated = duplicated
        try:
            os.set_blocking(fd, False)
            self._loop = loop
            self._reactor = reactor
            self._owner: Any = None if duplicated else _innermost(pipe)
            self._extra: dict[str, Any] = {"pipe": pipe}
            self._protocol: Any = protocol
            self._context = contextvars.copy_context()
            self._device = stat.S_ISCHR(mode)
            self._fifo = stat.S_ISFIFO(mode)
            self._stream = _is_byte_stream(fd, mode)
            self._closing = False
            self._lost = False  # connection_lost is on its way
            loop.call_soon(self._begin, waiter, context=self._context)
        except BaseException:
            if duplicated:
                calls.close(fd)
            raise
        self._pipe = pipe

    def _begin(self, waiter: asyncio.Future[None] | None) -> None:
        try:
            self._protocol.connection_made(self)
        except BaseException as exc:
            self._report(exc, "Fatal error: protocol.connection_made() call failed.")
        finally:  # after KeyboardInterrupt too: the pipe goes on when the loop runs again
            self._watch()
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _watch(self) -> None:
        if self._lost or self._pipe is None:
            return
        try:
            self._check_owner()
            self._register()
        except PermissionError:
            # epoll refuses what has no poll: a file that never blocks, such as /dev/null. The leftover list serves.
            self.added = True
            self.readable = True
            self._reactor.defer(self)
        except OSError as exc:
            self._fatal_error(exc, "Fatal error: epoll refused the pipe")

    def _check_owner(self) -> None:
        if self._owner is not None:
            pipes.check_owner(self._owner, self.fd)

    def _register(self) -> None:
        raise NotImplementedError

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``pipe``: the file object."""
        return self._extra.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the pipe to another protocol."""
        former = self._protocol  # let go of at the end, when its destructor finds the new one here
        self._protocol = protocol
        del former

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
        raise_interruption(exc)
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
        raise_interruption(exc)
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

    def _release(self) -> None:
        # Whatever is let go of or closed here may run code, which finds a transport that is closed.
        pipe, protocol = self._pipe, self._protocol
        self._pipe = None
        self._protocol = None
        self._reactor.remove(self)
        fd = self.fd
        self.fd = -1
        if self._duplicated:
            calls.close(fd)
        pipe.close()
        del protocol

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
        self._reactor.add(self, calls.INTEREST_READ)

    def on_ready(self) -> None:
        """Read one buffer (rule 3)."""
        if self.readable and not self._paused and not self._closing:
            self._read()

    def _read(self) -> None:
        try:
            self._check_owner()
            data = pipes.read(self.fd, self._device)
            emptied = data is None or self._is_emptied_by(len(data))
        except BaseException as exc:
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
            self._loop.call_soon(self._tell_end, context=self._context)
            self._lose(None)
            return
        if emptied:
            self.readable = False
        else:
            self._reactor.defer(self)
        try:
            interpreter.call_one(self._context, self._protocol.data_received, data)
        except BaseException as exc:
            self._report(exc, "Exception in protocol.data_received() of a pipe")

    def _is_emptied_by(self, size: int) -> bool:
        # Whether a read of that size has left nothing behind. The size alone never says so: packets, descriptors that
        # come along, urgent data and a terminal's lines each end a read (rule 2). A pipe can be asked, for one system
        # call; what else there is is read until it would block.
        return self._fifo and not self.hung and 0 < size < calls.READ_SIZE and not pipes.unread(self.fd)

    def _tell_end(self) -> None:
        if self._protocol is not None:
            self._protocol.eof_received()

    def _is_ordinary(self, exc: BaseException) -> bool:
        return isinstance(exc, OSError) and exc.errno == pipes.terminal_gone

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
