"""A TLS connection's states, what it sends, and its end."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from ... import stdlib
from ...core.failures import raise_interruption
from .. import flow
from . import engine, openssl, state
from .outgoing import Gathering, OutgoingBuffer

HIGH_WATER = 512 * 1024

SHUTDOWN_TIMEOUT = 30.0

# How much of what the peer had under way when we closed is thrown away while its close_notify is awaited. Closing a
# socket with unread bytes makes the kernel send a reset, which can overtake what we wrote last.
LINGER = 256 * 1024

# How many bytes of OpenSSL's own answers (to a KeyUpdate, to a renegotiation) may wait for a peer that doesn't take them. Each
# is as large as the question, so a peer that asked on without reading could fill the memory: beyond this, it is not read.
MAX_ANSWERS = 64 * 1024


class TLSConnection:
    """The sending half of an encrypted connection, and its end. TLSProtocol, which owns it, has the other half.

    The lower transport owns the descriptor. Only the loop's thread may call. The end begins with ``close``, ``abort`` or
    ``fail``, and is complete when the lower transport, which they close, has called connection_lost.

    A write leaves before it returns (rule 5). If the application's callbacks have ended right after their writes, small writes
    wait until the call from below (``calls``) ends; then one record in one lower write has all of them. A callback that goes
    on with something else makes one write late, once. Asking for the transport's state flushes what waits.

    Raises ValueError for a ``server_hostname`` that can't be one, as ``SSLContext.wrap_bio`` does.
    """

    def __init__(
        self,
        protocol: Any,
        app_transport: Any,
        loop: asyncio.AbstractEventLoop,
        sslcontext: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
        shutdown_timeout: float | None,
    ) -> None:
        if server_side or not server_hostname:
            server_hostname = None
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.sslobj = sslcontext.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_hostname)
        self.engine = openssl.engine_of(self.sslobj, incoming, outgoing)
        self.outgoing = OutgoingBuffer(self.engine)
        self.gathering = Gathering()
        self.state = state.NEW
        self.calls = 0  # from below, under way
        self.app_transport = app_transport
        self.app_protocol: Any = None
        self._protocol = protocol  # of the lower transport, for reports
        self._loop = loop
        self.lower: Any = None  # the lower transport, from its connection_made on
        self._lower_paused = False  # pause_lower was called, and resume_lower not yet
        self._answers_wait = False  # more than MAX_ANSWERS: the lower transport is paused for that
        self._encrypting = False  # in ``send``, which takes along what is written meanwhile
        self._writing_paused = False  # pause_writing was called, and resume_writing not yet
        self._high_water = HIGH_WATER
        self._low_water = HIGH_WATER // 4
        self._lost_writes = 0
        self._exception: BaseException | None = None  # for the application's connection_lost
        self._shutdown_timeout = SHUTDOWN_TIMEOUT if shutdown_timeout is None else shutdown_timeout
        self._shutdown_timer: asyncio.TimerHandle | None = None
        self._unsent_at_timer = 0
        self._discarded = 0

    def __repr__(self) -> str:
        return f"<TLSConnection {self.describe()}>"

    def describe(self) -> str:
        """Return the state, and what lies below, for a repr."""
        return f"{state.NAMES[self.state]} over {self.lower!r}"

    def enter(self, new: int) -> None:
        """Go on to the next state, or to CLOSED."""
        assert new == self.state + 1 or new == state.CLOSED, (self.state, new)
        self.state = new

    def advance(self) -> None:
        """Send what there is to send, and go on closing: every call from below ends with it."""
        if self.calls or self._encrypting or self.state == state.CLOSED:
            return
        if self.outgoing.size or self.engine.unsent() or self._writing_paused:
            self.send()
        if self.gathering.writes:
            self.gathering.call_ended()
        if self.outgoing.lower_full or self._answers_wait:
            self._bound_answers()
        if self.state == state.FLUSHING:
            self._go_on_closing()

    def _bound_answers(self) -> None:
        # While the lower transport is full nothing is encrypted for the application: what waits in the engine is OpenSSL's.
        wait = self.outgoing.lower_full and self.engine.unsent() > MAX_ANSWERS
        if wait != self._answers_wait:
            self._answers_wait = wait
            if wait:
                self.lower.pause_reading()
            elif not self._lower_paused:
                self.lower.resume_reading()

    def pause_lower(self) -> None:
        """Have the lower transport read no more."""
        if not self._lower_paused and self.lower is not None:
            self._lower_paused = True
            self.lower.pause_reading()

    def resume_lower(self) -> None:
        """Have it read again."""
        if self._lower_paused:
            self._lower_paused = False
            if not self._answers_wait:
                self.lower.resume_reading()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``, which isn't empty."""
        if self.state > state.OPEN:
            self._drop_write()
            return
        self.outgoing.append(data)
        if self.state == state.OPEN:
            self._leave()

    def writelines(self, items: list[bytes | bytearray | memoryview]) -> None:
        """Send every item, in order."""
        if self.state > state.OPEN:
            self._drop_write()
            return
        for data in items:
            self.outgoing.append(data)
        if self.state == state.OPEN and self.outgoing.size:
            self._leave()

    def _leave(self) -> None:
        # At once, unless it is little and may wait for the end of the call from below (rule 5).
        if self.calls and self.outgoing.size < engine.RECORD:
            if self.gathering.may_wait():
                return
            if self.gathering.was_late:
                self.flush()  # or what waited here will wait in the lower transport, until that has learnt it too
                return
        self.send()
        if self.state == state.FLUSHING:
            self.advance()  # close() was called in the middle of it, by a callback of the context's

    def flush(self) -> None:
        """Send what waits, and have the lower transport send: asyncio's write() has tried that by now.

        Called before anything that tells the application what has left.
        """
        if self.state == state.OPEN or self.state == state.FLUSHING:
            if self.outgoing.size:
                self.send()
                if self.state == state.FLUSHING:
                    self.advance()
            self.lower.get_write_buffer_size()  # and the lower transport flushes what it gathers

    def _drop_write(self) -> None:
        if self._lost_writes >= stdlib.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            stdlib.logger().warning("SSL connection is closed")
        self._lost_writes += 1

    def send(self) -> None:
        """Encrypt what was written and pass it on, as far as the lower transport wants it."""
        if self._encrypting:
            return  # the call further up the stack takes it along
        self._encrypting = True
        try:
            if self.state == state.OPEN or self.state == state.FLUSHING:
                self.outgoing.send(self.lower, self.state == state.FLUSHING)
            else:
                self.outgoing.send_records(self.lower)
        except Exception as exc:
            self.fail(exc, "Fatal error on SSL protocol")
            return
        finally:
            self._encrypting = False
        self._control_writing()

    def _control_writing(self) -> None:
        size = self.outgoing.size
        if self.outgoing.lower_full:
            size += self.engine.unsent()
        if not self._writing_paused:
            if size > self._high_water and self.app_protocol is not None:
                self._writing_paused = True
                self._call_app("pause_writing")
        elif size <= self._low_water and self.app_protocol is not None:
            self._writing_paused = False
            self._call_app("resume_writing")

    def _call_app(self, name: str) -> None:
        try:
            getattr(self.app_protocol, name)()
        except BaseException as exc:
            raise_interruption(exc)
            self._report(exc, f"protocol.{name}() failed", self.app_transport, self.app_protocol)

    def _report(self, exc: BaseException, message: str, transport: Any, protocol: Any) -> None:
        self._loop.call_exception_handler(
            {"message": message, "exception": exc, "transport": transport, "protocol": protocol}
        )

    def get_write_buffer_size(self) -> int:
        """Return how many bytes, encrypted or not, the lower transport has not been given, after an attempt to send them."""
        self.flush()
        return self.outgoing.unsent()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high mark, in bytes."""
        return self._low_water, self._high_water

    def set_write_buffer_limits(self, high: int | None, low: int | None) -> None:
        """Set the marks, in bytes. Raise ValueError unless high >= low >= 0."""
        self._high_water, self._low_water = flow.water_marks(high, low, HIGH_WATER)
        self._control_writing()

    # Closing

    def is_closing(self) -> bool:
        """Return True if this transport or the one below it is closing or closed."""
        self.flush()
        return self.state > state.OPEN or (self.lower is not None and self.lower.is_closing())

    def is_unclosed(self) -> bool:
        """Return True if there is a connection that nobody has closed."""
        return self.state == state.HANDSHAKE or self.state == state.OPEN

    def close(self) -> None:
        """Begin an orderly end; does nothing if there is one already."""
        if self.state == state.OPEN:
            self.enter(state.FLUSHING)
            self._start_shutdown_timer()
            if self._encrypting:
                return  # a callback of the context's, in the middle of a write: its end goes on
            self.send()
            if self.state == state.FLUSHING:
                self._go_on_closing()
            self.lower.get_write_buffer_size()  # the program may go on with something else: flush what is gathered there
        elif self.state < state.OPEN:
            self.abort()

    def abort(self) -> None:
        """End at once."""
        if self.state == state.CLOSED:
            return
        self.flush()  # as asyncio's write() has done by now
        self.enter(state.CLOSED)
        self.outgoing.drop()
        if self.lower is not None:
            self.lower.abort()

    def _go_on_closing(self) -> None:
        if not self.outgoing.size:
            self._send_close_notify()
        elif not self.outgoing.wants_read:
            self.pause_lower()

    def _send_close_notify(self) -> None:
        self.enter(state.SHUTDOWN)
        if self.outgoing.lower_ended:
            self.close_lower()  # as asyncio does it: who ended without a close_notify gets none
            return
        # unwrap() fails when there is data that nobody has read.
        self._discarded += self.engine.discard()
        try:
            self.sslobj.unwrap()
        except ssl.SSLWantReadError:
            peer_done = False
        except ssl.SSLError as exc:
            self.fail(exc)
            return
        else:
            peer_done = True
        if peer_done or self._discarded > LINGER:
            self.close_lower()
        else:
            self.outgoing.send_records(self.lower)
            self.resume_lower()

    def await_close_notify(self) -> None:
        """Something has arrived after our close_notify: close if it is the peer's, or too much else."""
        self._discarded += self.engine.discard()
        if self.engine.input == state.FAILED:
            self.fail(self.engine.take_error())
        elif self.engine.input == state.EOF or self._discarded > LINGER:
            self.close_lower()

    def close_lower(self) -> None:
        """Close the lower transport, which sends first what it has."""
        # The timer stays: the lower transport may have much to send, to a peer that doesn't read.
        self.outgoing.lower_full = False
        self.outgoing.send_records(self.lower)
        self.lower.close()

    def _start_shutdown_timer(self) -> None:
        self._unsent_at_timer = self._unsent()
        self._shutdown_timer = self._loop.call_later(self._shutdown_timeout, self._shutdown_timed_out)

    def _shutdown_timed_out(self) -> None:
        if self._unsent() < self._unsent_at_timer:
            # The time is for the peer's answer. As long as it takes what was written, the shutdown hasn't begun.
            self._start_shutdown_timer()
        else:
            self.fail(TimeoutError("SSL shutdown timed out"))

    def _unsent(self) -> int:
        size: int = self.lower.get_write_buffer_size()
        return self.outgoing.unsent() + size

    def fail(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        """End at once, for ``exc``, which is reported unless it is an OSError or a cancellation."""
        if self._exception is None:
            self._exception = exc
        self.flush()  # what was written before it failed
        self.enter(state.CLOSED)
        if isinstance(exc, ssl.SSLError):
            engine.forget_errors()
            # The alert by which the peer learns what was wrong (RFC 8446, section 6.2).
            self.outgoing.lower_full = False
            self.outgoing.send_records(self.lower)
        self.lower.abort()
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                stdlib.logger().debug("%r: %s", self, message, exc_info=exc)
        elif not isinstance(exc, asyncio.CancelledError):
            self._report(exc, message, self.lower, self._protocol)

    def lost(self, exc: BaseException | None) -> BaseException | None:
        """The lower transport is gone: drop everything. Return the reason that the application is to be told.

        The caller holds what is dropped here, so that destructors run when all is done.
        """
        reason = exc if self._exception is None else self._exception
        self.enter(state.CLOSED)
        self._lost_writes += 1
        self._exception = None
        self.app_protocol = self.app_transport = self._protocol = None
        self.outgoing.drop()
        timer = self._shutdown_timer
        self._shutdown_timer = None
        if timer is not None:
            timer.cancel()
        return reason
