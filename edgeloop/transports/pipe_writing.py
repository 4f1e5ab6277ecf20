"""The writing end of pipes, FIFOs, character devices and sockets. asyncio doc: Working with pipes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from .. import stdlib
from ..core.failures import INTERRUPTIONS
from ..core.schedule import Scheduler
from ..kernel import calls, interpreter, pipes
from . import flow
from .pipe import PipeTransport


class _WriteFace(asyncio.Transport):
    """What ``isinstance`` sees of a WritePipeTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class WritePipeTransport(PipeTransport):
    """The writing end: an asyncio.WriteTransport. Raises ValueError for a file that is no pipe, socket or device.

    When the last reader closes its end, ``connection_lost`` is called without waiting for a write: with BrokenPipeError
    if that loses data, else with None. A character device has no such end: its other side may be opened again.
    """

    def __init__(
        self,
        loop: Scheduler,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
    ) -> None:
        PipeTransport.__init__(
            self, loop, pipe, protocol, waiter, "Pipe transport is only for pipes, sockets and character devices"
        )
        self._backlog: list[Any] = []
        self._backlog_size = 0
        self._high_water = flow.DEFAULT_HIGH_WATER
        self._low_water = flow.DEFAULT_HIGH_WATER // 4
        self._protocol_paused = False
        self._dropped_writes = 0

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Transport]:  # type: ignore[override]
        return _WriteFace

    def _register(self) -> None:
        if self.writable:
            self._reactor.add(self, calls.INTEREST_HANGUP)
        else:
            self._reactor.add(self, calls.INTEREST_HANGUP | calls.INTEREST_WRITE)

    def on_ready(self) -> None:
        """The reader is gone, or there is room again."""
        if self.hung and not self._device:
            self._reader_gone()
        elif self.writable and not self.marked:
            if self._backlog:
                self._send()
                if self._protocol_paused:
                    self._maybe_resume_protocol()
            elif self.interest & calls.INTEREST_WRITE and self.added:
                self._reactor.rearm(self, calls.INTEREST_HANGUP)  # woken for nothing: disarm (rule 4)

    def _reader_gone(self) -> None:
        if self._lost:
            return
        if self._loop._debug:
            stdlib.logger().info("%r was closed by peer", self)
        self._force_close(BrokenPipeError() if self._backlog else None)

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data, after what was written before. Never blocks. TypeError for what is not bytes-like.

        After the end, data is dropped, and from the fifth time on a warning is logged.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if type(data) is not bytes:
            data = memoryview(data).tobytes()  # its owner may change it before it leaves, and counts what is no byte
        if not data:
            return
        if self._closing:
            self._count_dropped_write()
            return
        if not self._backlog and self.writable:
            self._send_at_once(data)
        else:
            self._keep(data)
            if self.writable:  # an exception has kept the rest from going
                self._send()
                if self._protocol_paused:
                    self._reactor.mark(self)
        if self._backlog_size > self._high_water:
            self._maybe_pause_protocol()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write the chunks joined to one."""
        self.write(b"".join(list_of_data))

    def flush(self) -> None:
        """The turn ends: go on where an exception has kept ``write`` from it."""
        if self._backlog and self.writable:
            self._send()
        if self._protocol_paused:
            self._maybe_resume_protocol()

    def _keep(self, data: Any) -> None:
        self._backlog.append(data)
        self._backlog_size += len(data)

    def _send_at_once(self, data: bytes) -> None:
        # By itself, since what is atomic stays so: pipe(7), PIPE_BUF.
        self._reactor.stirred = True
        try:
            self._check_owner()
            count = pipes.write(self.fd, self._device, data)
        except INTERRUPTIONS:
            self._keep(data)
            self._reactor.mark(self)
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal write error on pipe transport")
            return
        if count == len(data):
            return
        self._keep(data if count < 0 else memoryview(data)[count:])
        if count < 0:
            self._wait_for_room()
        else:
            self._send()  # only EAGAIN says that there is no more room

    def _send(self) -> None:
        self._reactor.stirred = True
        try:
            self._check_owner()
            while self._backlog:
                if self._stream and len(self._backlog) > 1:
                    count = pipes.write_many(self.fd, self._device, self._backlog)
                else:
                    count = pipes.write(self.fd, self._device, self._backlog[0])
                if count < 0:
                    self._wait_for_room()
                    return
                self._backlog_size -= count
                flow.drop_sent(self._backlog, count)
        except INTERRUPTIONS:
            self._reactor.mark(self)
            raise
        except BaseException as exc:
            self._drop_backlog()
            self._fatal_error(exc, "Fatal write error on pipe transport")
            return
        if self._closing:
            self._lose(None)

    def _wait_for_room(self) -> None:
        self.writable = False
        if self.added and not self.interest & calls.INTEREST_WRITE:
            self._reactor.rearm(self, calls.INTEREST_HANGUP | calls.INTEREST_WRITE)

    def _drop_backlog(self) -> None:
        self._backlog = []
        self._backlog_size = 0

    def _count_dropped_write(self) -> None:
        if self._dropped_writes >= stdlib.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            stdlib.logger().warning("pipe closed by peer or os.write(pipe, data) raised exception.")
        self._dropped_writes += 1

    # Flow control

    def get_write_buffer_size(self) -> int:
        """How many bytes the kernel has not taken."""
        return self._backlog_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high water mark, in bytes."""
        return (self._low_water, self._high_water)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, in bytes: over ``high`` the protocol is paused, at ``low`` resumed.

        One that is None follows from the other, low = high / 4; without both, high is 64 KiB. ValueError unless
        high >= low >= 0.
        """
        self._high_water, self._low_water = flow.water_marks(high, low)
        self._maybe_pause_protocol()

    def _maybe_pause_protocol(self) -> None:
        if self._protocol_paused or self._backlog_size <= self._high_water:
            return
        self._protocol_paused = True
        try:
            self._protocol.pause_writing()
        except BaseException as exc:
            self._report(exc, "protocol.pause_writing() failed")

    def _maybe_resume_protocol(self) -> None:
        # Called by the reactor only, outside of any context; write() leaves it to the end of the turn.
        if not self._protocol_paused or self._backlog_size > self._low_water or self._protocol is None:
            return
        self._protocol_paused = False
        try:
            interpreter.call_none(self._context, self._protocol.resume_writing)
        except BaseException as exc:
            self._report(exc, "protocol.resume_writing() failed")

    # The end

    def can_write_eof(self) -> bool:
        """True: that is what closing a pipe is."""
        return True

    def write_eof(self) -> None:
        """The same as ``close``: a pipe's end of file is the closing of its writing end."""
        if self._closing:
            return
        self._closing = True
        if not self._backlog:
            self._lose(None)
        elif self.writable:
            self._send()
        else:
            try:
                self._check_owner()
            except Exception as exc:  # nothing will ever tell that there is room
                self._fatal_error(exc, "Fatal write error on pipe transport")

    def close(self) -> None:
        """Send what was written, then call ``connection_lost(None)``."""
        self.write_eof()

    def abort(self) -> None:
        """Close without waiting: what the kernel won't take at once is lost."""
        self._force_close(None)

    def _force_close(self, exc: BaseException | None) -> None:
        self._drop_backlog()
        self._lose(exc)

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
        polling = bool(self._backlog)
        return f"<WritePipeTransport fd={self.fd} {self._state(polling)} bufsize={self._backlog_size}>"
