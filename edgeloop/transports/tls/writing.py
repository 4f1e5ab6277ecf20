"""The way out of a TLS connection: what the application writes, until the lower transport has it."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from ... import stdlib
from ...kernel import calls
from .. import flow
from . import engine, state
from .records import TLSRecords

HIGH_WATER = 512 * 1024

# Calls from below that write in pieces and end within PROMPT seconds of that earn, with MIN_PROMPT_CALLS of them in a row,
# that small writes wait for the end. One that takes longer than LATE ends that, and the next time it takes MORE_EACH_TIME
# as many.
PROMPT = 100e-6
LATE = 1e-3
MIN_PROMPT_CALLS = 4
MORE_EACH_TIME = 8
MAX_PROMPT_CALLS = 1 << 20


class TLSWriter(TLSRecords):
    """Encrypts no faster than the lower transport takes it, and holds the application back when it writes faster.

    A write leaves before it returns (rule 5). Where the application's callbacks have proved to end right after their writes,
    small ones wait until the call from below (``_busy``) ends, which sends them all as one record in one lower write; who
    goes on with something else there makes one of them late, once. Who asks how the transport stands lets go of what waits.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sslcontext: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
    ) -> None:
        TLSRecords.__init__(self, sslcontext, server_side, server_hostname)
        self._loop = loop
        self._state = state.NEW
        self._lower: Any = None
        self._lower_full = False
        self._lower_eof = False
        self._app_protocol: Any = None
        self.app_transport: Any = None
        self._busy = 0
        self._encrypting = False
        self._writing_paused = False
        self._lost_writes = 0
        self._prompt_calls = 0  # in a row
        self._prompt_calls_needed = MIN_PROMPT_CALLS
        self._small_writes = 0  # in the call from below that is under way
        self._first_write = 0.0  # when that was, as far as it matters; else 0
        self._was_late = False
        self._high_water = HIGH_WATER
        self._low_water = HIGH_WATER // 4

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``, which isn't empty."""
        if self._state > state.OPEN:
            self._drop_write()
            return
        self._append(data)
        if self._state == state.OPEN:
            self._appended()

    def writelines(self, items: list[bytes | bytearray | memoryview]) -> None:
        """Send every item, in order."""
        if self._state > state.OPEN:
            self._drop_write()
            return
        for data in items:
            self._append(data)
        if self._state == state.OPEN and self._write_buffer:
            self._appended()

    def _appended(self) -> None:
        if self._busy and self._write_buffer_size < engine.RECORD:
            self._small_writes += 1
            gathers = self._prompt_calls >= self._prompt_calls_needed
            # To read the clock costs something: not for those who write once in each call, and have nothing to gather.
            if not self._first_write and (gathers or self._small_writes == 2):
                self._first_write = calls.now()
            if gathers:
                return
            if self._was_late:
                self._let_go()  # or what waited here will wait in the lower transport, until that has learnt it too
                return
        self._send_write_buffer()
        if self._state == state.FLUSHING:
            self._advance()  # close() was called in the middle of it, by a callback of the context's

    def _call_ended(self) -> None:
        """A call from below in which something was written ends: was it prompt?"""
        self._small_writes = 0
        if not self._first_write:
            return
        elapsed = calls.now() - self._first_write
        self._first_write = 0.0
        gathers = self._prompt_calls >= self._prompt_calls_needed
        if elapsed > LATE:
            if gathers:
                self._prompt_calls_needed = min(self._prompt_calls_needed * MORE_EACH_TIME, MAX_PROMPT_CALLS)
                self._was_late = True
            self._prompt_calls = 0
        elif elapsed <= PROMPT and not gathers:
            self._prompt_calls += 1

    def _let_go(self) -> None:
        """Send what waits: who asks how the transport stands goes by what the kernel has, and asyncio's write() has tried."""
        if self._state == state.OPEN or self._state == state.FLUSHING:
            if self._write_buffer:
                self._send_write_buffer()
                if self._state == state.FLUSHING:
                    self._advance()
            self._lower.get_write_buffer_size()  # and the lower transport, what it gathers

    def _drop_write(self) -> None:
        if self._lost_writes >= stdlib.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            stdlib.logger().warning("SSL connection is closed")
        self._lost_writes += 1

    def _send_write_buffer(self) -> None:
        """Encrypt the write buffer and pass it on, as far as the lower transport wants it."""
        if self._encrypting:
            return  # the loop below, further up the stack, takes it along
        self._encrypting = True
        try:
            self._encrypt_write_buffer()
            while self._write_buffer and not self._write_wants_read and (not self._lower_full or self._lower_eof):
                if (self._state != state.OPEN and self._state != state.FLUSHING) or self._lower.is_closing():
                    self._drop_output()
                    break
                self._encrypt_write_buffer()  # what somebody has written while the lower transport was given the rest
        except Exception as exc:
            self._fatal_error(exc, "Fatal error on SSL protocol")
            return
        finally:
            self._encrypting = False
        self._control_writing()

    def _encrypt_write_buffer(self) -> None:
        if self._state == state.OPEN or self._state == state.FLUSHING:
            while self._write_buffer and (not self._lower_full or self._lower_eof):
                self._encrypt()
                if self._write_wants_read:
                    break
                # Records leave together, as many as the BIO holds without growing (see PIECE).
                if (
                    self._write_buffer
                    and self._engine.unsent() + max(len(self._write_buffer[self._taken]), engine.RECORD) > engine.PIECE
                ):
                    self._send_outgoing()
                    if self._lower.is_closing():
                        # Reset: what remains has nowhere to go, and each piece of it would count as a lost write.
                        self._drop_output()
        if self._write_buffer or self._state != state.FLUSHING:
            self._send_outgoing()  # else with the close_notify, which comes next

    def _send_outgoing(self) -> None:
        # At the end of the lower stream this is the last chance, however full it is.
        if not self._lower_full or self._lower_eof:
            records = self._engine.drain()
            if records:
                self._lower.write(records)

    def pause_writing(self) -> None:
        """The lower transport has enough for now."""
        self._lower_full = True

    def _control_writing(self) -> None:
        size = self._write_buffer_size
        if self._lower_full:
            size += self._engine.unsent()
        if not self._writing_paused:
            if size > self._high_water and self._app_protocol is not None:
                self._writing_paused = True
                self._call_app("pause_writing")
        elif size <= self._low_water and self._app_protocol is not None:
            self._writing_paused = False
            self._call_app("resume_writing")

    def _call_app(self, name: str) -> None:
        try:
            getattr(self._app_protocol, name)()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            self._loop.call_exception_handler(
                {
                    "message": f"protocol.{name}() failed",
                    "exception": exc,
                    "transport": self.app_transport,
                    "protocol": self._app_protocol,
                }
            )

    def get_write_buffer_size(self) -> int:
        """Bytes, encrypted or not, that the lower transport hasn't been given yet, after an attempt to send them."""
        self._let_go()
        return self._unsent_here()

    def _unsent_here(self) -> int:
        return self._write_buffer_size + self._engine.unsent()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark, in bytes."""
        return self._low_water, self._high_water

    def set_write_buffer_limits(self, high: int | None, low: int | None) -> None:
        """Set the marks, in bytes. Raises ValueError unless high >= low >= 0."""
        self._high_water, self._low_water = flow.water_marks(high, low, HIGH_WATER)
        self._control_writing()

    # How a connection goes on and ends is for TLSProtocol to say.

    def _advance(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Begin an orderly end."""
        raise NotImplementedError

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        raise NotImplementedError
