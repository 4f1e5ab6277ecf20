"""The way in of a TLS connection: from the lower transport to the application's protocol."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from ... import stdlib
from . import state
from .writing import TLSWriter


class TLSReader(TLSWriter):
    """Hands on what can be decrypted. While the application pauses, so does the lower transport."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        app_protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
    ) -> None:
        TLSWriter.__init__(self, loop, sslcontext, server_side, server_hostname)
        self._reading_paused = False
        self._resume_scheduled = False
        self._lower_paused = False
        self._app_buffered = False
        self.set_app_protocol(app_protocol)

    def get_app_protocol(self) -> Any:
        """The application's protocol; None after connection_lost."""
        return self._app_protocol

    def set_app_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        self._app_buffered = isinstance(protocol, asyncio.BufferedProtocol)
        self._app_protocol = protocol

    def _deliver(self) -> None:
        """Hand the application what has arrived, until there is no more or it pauses or closes.

        Its methods are looked up for each call, as by the plain transports: programs put others in their place.
        """
        try:
            while self._state == state.OPEN and not self._reading_paused:
                if self._app_buffered:
                    filled = self._engine.read_into(self._app_protocol.get_buffer(-1))
                    if filled:
                        self._app_protocol.buffer_updated(filled)
                else:
                    data = self._engine.read()
                    if data:
                        self._app_protocol.data_received(data)
                if self._engine.input == state.WANT_READ:
                    return
                if self._write_buffer:
                    self._send_write_buffer()  # an answer is not held until what comes next has been handled
                if self._engine.input == state.FAILED:
                    raise self._take_input_error()
                if self._engine.input == state.EOF and not self._reading_paused:
                    self._end_of_data()
        except Exception as exc:
            self._fatal_error(exc, "Fatal error on SSL protocol")

    def _end_of_data(self) -> None:
        """The peer sends no more: tell the application, then close."""
        if self._state != state.OPEN:
            return
        try:
            keep_open = self._app_protocol.eof_received()
        except (KeyboardInterrupt, SystemExit):
            self.close()
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Error calling eof_received()")
            return
        if keep_open:
            stdlib.logger().warning("returning true from eof_received() has no effect when using ssl")
        self.close()

    def is_reading(self) -> bool:
        """Whether the application takes data."""
        return not self._reading_paused and self._state <= state.OPEN

    def pause_reading(self) -> None:
        """Deliver nothing until resume_reading(); what arrives stays in the kernel."""
        if not self._reading_paused and self._state <= state.OPEN:
            self._reading_paused = True
            self._pause_lower()

    def resume_reading(self) -> None:
        """Deliver again, from the next turn on."""
        if not self._reading_paused or self._state > state.OPEN:
            return
        self._reading_paused = False
        self._deliver_later()

    def _deliver_later(self) -> None:
        if not self._resume_scheduled:
            self._resume_scheduled = True
            self._loop.call_soon(self._resume)

    def _interrupted(self) -> None:
        # The run of the loop ends here. What was written leaves now, and the connection goes on when the loop runs again.
        self._let_go()
        self._deliver_later()

    def _resume(self) -> None:
        self._resume_scheduled = False
        if self._state != state.OPEN or self._reading_paused:
            return
        self._busy += 1
        try:
            self._deliver()
            if self._lower_eof and not self._reading_paused:
                self._end_of_data()
        except (KeyboardInterrupt, SystemExit):
            self._interrupted()
            raise
        finally:
            self._busy -= 1
            if self._state == state.OPEN and not self._reading_paused:
                self._resume_lower()
            self._advance()

    def _pause_lower(self) -> None:
        if not self._lower_paused and self._lower is not None:
            self._lower_paused = True
            self._lower.pause_reading()

    def _resume_lower(self) -> None:
        if self._lower_paused:
            self._lower_paused = False
            self._lower.resume_reading()
