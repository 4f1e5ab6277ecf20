"""The write half of a socket's transport: what is written and not sent, when the protocol is asked to wait, and the end,
which comes when all is sent.

asyncio doc: Transports and Protocols, Write-only Transports.
"""

from __future__ import annotations

import contextvars
import sys
from typing import Any

from .. import stdlib
from ..core.failures import raise_interruption
from ..core.reactor import Channel, Reactor
from ..core.schedule import Scheduler
from ..kernel import interpreter

DEFAULT_HIGH_WATER = 65536


def water_marks(high: int | None, low: int | None, default_high: int = DEFAULT_HIGH_WATER) -> tuple[int, int]:
    """The high and the low mark that ``set_write_buffer_limits`` was asked for, in bytes.

    One that is None follows from the other, without both from ``default_high``. ValueError unless high >= low >= 0.
    """
    if high is None:
        high = default_high if low is None else 4 * low
    if low is None:
        low = high // 4
    if not high >= low >= 0:
        raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
    return int(min(high, sys.maxsize)), int(min(low, sys.maxsize))


def drop_sent(backlog: list[Any], count: int) -> int:
    """Take the ``count`` bytes that went from the front of the backlog; how many whole chunks they were."""
    done = 0
    for chunk in backlog:
        size = len(chunk)
        if count < size:
            break
        count -= size
        done += 1
    if count:
        first = backlog[done]
        rest = memoryview(first)[count:]
        if done < len(backlog) and backlog[done] is first:  # else a destructor has aborted
            backlog[done] = rest
    interpreter.drop_first(backlog, done)
    return done


class WriteHalf(Channel):
    """A Channel with a backlog. Subclasses say how it is sent (``_send``), what follows when it has left (``_emptied``), how
    the socket is given back (``_release``), and set what is only declared here.
    """

    _loop: Scheduler
    _reactor: Reactor
    _context: contextvars.Context
    _protocol: Any

    def _start_empty(self) -> None:
        self._backlog: list[Any] = []
        self._backlog_size = 0
        self._high_water = DEFAULT_HIGH_WATER
        self._low_water = DEFAULT_HIGH_WATER // 4
        self._protocol_paused = False
        self._closing = False
        self._lost = 0  # connection_lost is called or will be; how many writes came after that

    def _send(self) -> None:
        """Send as much of the backlog as the kernel takes."""
        raise NotImplementedError

    def _emptied(self) -> None:
        """All that was written has left: what waited for that can go on, the end too."""
        raise NotImplementedError

    def _release(self) -> None:
        """Give the socket back."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send what was gathered, and tell the protocol if there is room again."""
        if self._backlog and self.writable:
            if self._reactor.late:
                self.credit = 0
            self._send()
        if self._protocol_paused:
            self._maybe_resume_protocol()

    def push(self) -> None:
        """Send what was gathered: asyncio has by now, and somebody asks, or is about to do what counts on that (rule 5)."""
        if self._backlog and self.writable and self._reactor.may_send():
            self._send()
            if self._protocol_paused:
                self._reactor.mark(self)

    def get_write_buffer_size(self) -> int:
        """How many bytes the kernel has not taken, after an attempt to send what was gathered.

        From another thread: what waits now. Datagrams: from Python 3.13 on with 8 for each.
        """
        self.push()
        return self._backlog_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high water mark, in bytes."""
        return (self._low_water, self._high_water)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, in bytes: over ``high`` the protocol is paused, at ``low`` resumed.

        One that is None follows from the other, low = high / 4; without both, high is 64 KiB. ValueError unless
        high >= low >= 0.
        """
        self.push()
        self._high_water, self._low_water = water_marks(high, low)
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
        # Called by the reactor only, outside of any context; what writes leaves it to the end of the callback.
        if not self._protocol_paused or self._backlog_size > self._low_water or self._protocol is None:
            return
        self._protocol_paused = False
        try:
            interpreter.call_none(self._context, self._protocol.resume_writing)
        except BaseException as exc:
            self._report(exc, "protocol.resume_writing() failed")

    def _report(self, exc: BaseException, message: str) -> None:
        # What the protocol raised, or a call of ours. SystemExit and KeyboardInterrupt leave the loop instead.
        raise_interruption(exc)
        self._loop._report_within(
            self._context, {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
        )

    # The end

    def is_closing(self) -> bool:
        """Whether the transport closes or is closed. What was gathered leaves: asyncio's ``drain`` asks this."""
        self.push()
        return self._closing

    def close(self) -> None:
        """Stop reading, send what was written, then call ``connection_lost(None)``."""
        if self._closing:
            return
        self._closing = True
        if not self._backlog:
            self._emptied()
        elif self.writable:
            self._send()

    def _lose_when_closing(self) -> None:
        # All is sent: a transport that closes is done.
        if self._closing and not self._lost:
            self._lost += 1
            self._loop.call_soon(self._call_connection_lost, None, context=self._context)

    def _force_close(self, exc: BaseException | None) -> None:
        lost = self._lost > 0
        if not lost:
            self._closing = True
            self._lost += 1
        # Also of a connection that is lost already: nothing may be left to be offered to a descriptor that is gone.
        self._backlog_size = 0
        self._backlog.clear()  # the same list: a ``_send`` that is under way goes on with it
        if not lost:
            self._loop.call_soon(self._call_connection_lost, exc, context=self._context)

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        raise_interruption(exc)
        if isinstance(exc, OSError):
            if self._loop._debug:
                stdlib.logger().debug("%r: %s", self, message, exc_info=exc)
        else:
            self._report(exc, message)
        self._force_close(exc)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._release()

    def _count_lost_write(self) -> None:
        if self._lost >= stdlib.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            stdlib.logger().warning("socket.send() raised exception.")
        self._lost += 1
