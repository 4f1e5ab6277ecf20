"""The write half of a transport: what is written and not sent, when the protocol is asked to wait, and the end, which
comes when all is sent.

asyncio doc: Transports and Protocols, Write-only Transports.
"""

from __future__ import annotations

import contextvars
import sys
from typing import Any

from .. import stdlib
from ..core.failures import INTERRUPTIONS
from ..core.schedule import Scheduler
from ..kernel import calls, interpreter
from . import base
from .base import BaseTransport

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


def drop_sent(write_buffer: list[Any], count: int) -> int:
    """Take the ``count`` bytes that went from the front of the write buffer; how many whole chunks they were."""
    done = 0
    for chunk in write_buffer:
        size = len(chunk)
        if count < size:
            break
        count -= size
        done += 1
    if count and done < len(write_buffer):  # else a destructor has aborted
        first = write_buffer[done]
        rest = memoryview(first)[count:]
        if done < len(write_buffer) and write_buffer[done] is first:
            write_buffer[done] = rest
    interpreter.drop_first(write_buffer, done)
    return done


class WriteHalf(BaseTransport):
    """A transport that keeps what the kernel does not take at once. Subclasses say how it is sent (``_send_write_buffer``).

    Only the loop's thread may call it, as on asyncio. A write from another thread while the loop sleeps leaves at once,
    and wakes the loop if the protocol is to be resumed. ``close`` ends the transport when all is sent; ``abort`` and
    errors drop the rest.
    """

    _kind = ""  # of transport, in messages

    def _start(self, loop: Scheduler, context: contextvars.Context, interest: int) -> None:
        BaseTransport._start(self, loop, context, interest)
        self._write_buffer: list[Any] = []  # what is written and not sent; the same list for good
        self._write_buffer_size = 0  # its bytes
        self._high_water = DEFAULT_HIGH_WATER  # this and the next: by set_write_buffer_limits
        self._low_water = DEFAULT_HIGH_WATER // 4
        self._protocol_paused = False  # pause_writing was called, and resume_writing not yet
        self._pause_counted = False  # in the figures
        self._sending = False  # what destructors and signal handlers write in the middle of it is only appended
        self._lost_writes = 0  # what was written after the end
        self.bytes_sent = 0  # what the kernel has taken

    # Sending

    def _append(self, data: Any, size: int) -> None:
        # Put ``data``, of ``size`` bytes, behind what waits. No call lies between the three steps: at a call the pure edition
        # runs signal handlers and destructors, and these may write, send and abort.
        if self._state >= base.LOST:
            return
        self._write_buffer_size += size
        appended = False
        try:
            self._write_buffer.append(data)
            appended = True
        finally:
            if not appended:  # MemoryError
                self._write_buffer_size -= size

    def _send(self) -> None:
        # Send as much of the write buffer as the kernel takes.
        if self._state >= base.LOST:
            return  # ``_force_close`` is about to drop it; ``abort`` of datagrams has sent it
        if self._sending:
            self._reactor.schedule_flush(self)
            return
        self._sending = True
        self._reactor.needs_poll = True  # as request_poll does, whose call costs an echo half a percent
        try:
            self._send_write_buffer()
        except INTERRUPTIONS:
            self._reactor.schedule_flush(self)  # the rest leaves when the loop runs again
            raise
        except BaseException as exc:
            self._sending = False
            if self._state < base.LOST:  # else it was aborted meanwhile, and there was nothing to send any more
                self._fatal_error(exc, f"Fatal write error on {self._kind} transport")
            return
        finally:
            self._sending = False
        if self._state != base.OPEN and not self._write_buffer:
            self._on_drained()

    def _send_write_buffer(self) -> None:
        """Send and drop the write buffer until it is empty or the kernel takes no more: then call ``_wait_writable``."""
        raise NotImplementedError

    def _drop_sent(self, count: int, chunks: int) -> int:
        # ``count`` bytes have left, of the ``chunks`` chunks that there were, and of what was written before the system call
        # read the list: a file's fileno() and destructors may do that. Return how many whole chunks they were.
        # No list takes the other's place: to make one may run a destructor that writes.
        self.bytes_sent = self.bytes_sent + count
        self._write_buffer_size = self._write_buffer_size - count  # -= takes 10 instructions more, compiled
        if self._write_buffer_size == 0 and len(self._write_buffer) == chunks:
            if chunks == 1:
                interpreter.take_only(self._write_buffer)  # the list keeps its memory for the next write
            else:
                interpreter.drop_first(self._write_buffer, chunks)
            return chunks
        if self._state >= base.LOST:  # aborted meanwhile
            self._write_buffer_size = 0
            return chunks
        return drop_sent(self._write_buffer, count)

    def _wait_writable(self) -> None:
        # The kernel takes no more: it is to tell when there is room again (rule 4).
        self.writable = False
        if self.added and not self.interest & calls.INTEREST_WRITE:
            self._reactor.rearm(self, self._interest | calls.INTEREST_WRITE)

    def _use_room(self) -> None:
        # The channel is writable: called by ``on_ready``.
        if self._write_buffer:
            if not self.flush_queued:
                self._send()
                if self._protocol_paused:
                    self._maybe_resume_protocol()
        elif not self.readable and self.interest & calls.INTEREST_WRITE and self.added:
            # Woken for nothing: that is when disarming is worth a system call (rule 4). The callback that has just read may
            # have closed a socket that its program owns.
            self._reactor.rearm_if_open(self, self._interest)

    def _on_drained(self) -> None:
        # All that was written has left: what waited for that can go on, the end too. A protocol that is paused is resumed
        # before that, and what it writes then leaves, as on asyncio.
        if self._state == base.CLOSING:
            if self._protocol_paused:
                self._reactor.schedule_flush(self)
            else:
                self._force_close(None)

    def flush(self) -> None:
        """Send what was gathered, and tell the protocol if there is room again."""
        if self._write_buffer and self.writable:
            if self._reactor.late:
                self.credit = min(self.credit, 0)
            self._send()
        if self._protocol_paused:
            self._maybe_resume_protocol()

    def push(self) -> None:
        """Send what was gathered: asyncio has by now, and somebody asks, or is about to do what counts on that (rule 5)."""
        if self._write_buffer and self.writable and self._reactor.may_send():
            self._send()
            if self._protocol_paused:
                self._reactor.schedule_flush(self)

    # Flow control

    def get_write_buffer_size(self) -> int:
        """How many bytes the kernel has not taken, after an attempt to send what was gathered.

        From another thread: what waits now. Datagrams: from Python 3.13 on with 8 for each.
        """
        self.push()
        return self._write_buffer_size

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
        if self._protocol_paused or self._write_buffer_size <= self._high_water:
            return
        self._protocol_paused = True
        self._count_pause(True)
        try:
            self._protocol.pause_writing()
        except BaseException as exc:
            self._report(exc, "protocol.pause_writing() failed")

    def _maybe_resume_protocol(self) -> None:
        # Called by the reactor only, outside of any context; what writes leaves it to the end of the callback.
        if not self._protocol_paused or self._write_buffer_size > self._low_water or self._protocol is None:
            return
        self._protocol_paused = False
        try:
            self._count_pause(False)
            try:
                interpreter.call_none(self._context, self._protocol.resume_writing)
            except BaseException as exc:
                self._report(exc, "protocol.resume_writing() failed")
        finally:  # after KeyboardInterrupt too: the end waits for this alone
            if self._state == base.CLOSING and not self._write_buffer:
                self._on_drained()

    def _count_pause(self, paused: bool) -> None:
        if paused != self._pause_counted:
            self._pause_counted = paused
            self._reactor.counts.writing_paused += 1 if paused else -1

    # The end

    def is_closing(self) -> bool:
        """Return True if the transport closes or is closed. What was gathered leaves: asyncio's ``drain`` asks this."""
        self.push()
        return self._state != base.OPEN

    def close(self) -> None:
        """Stop reading, send what was written, then call ``connection_lost(None)``."""
        if self._state != base.OPEN:
            return
        self._state = base.CLOSING  # before any call, as in ``_force_close``
        if not self._write_buffer:
            try:
                self._on_drained()
            except MemoryError:
                if self._state == base.CLOSING:
                    self._state = base.OPEN  # nothing else would end it: it can be closed again
                raise
        elif self.writable:
            self._send()
        else:
            try:
                self._number()
            except Exception as exc:  # its owner has closed it: nothing will ever tell that there is room
                self._fatal_error(exc, f"Fatal write error on {self._kind} transport")

    def _drop_unsent(self) -> None:
        if self._write_buffer:
            self._protocol_paused = False  # and nobody is told that there is room again: drain would call it a success
        self._count_pause(False)  # in any case: nothing leaves any more
        self._write_buffer_size = 0
        self._write_buffer.clear()  # the same list: a ``_send`` that is under way goes on with it

    def _count_lost_write(self, message: str) -> None:
        if self._lost_writes >= stdlib.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            stdlib.logger().warning(message)
        self._lost_writes += 1
