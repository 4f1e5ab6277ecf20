"""The receiving half of a TLS connection: between a stream transport below and an application's protocol above.

TLSProtocol is the protocol of the lower transport; the application holds a TLSTransport (transport.py). The lower
transport may be any asyncio stream transport, another TLSTransport too.

The states, the sending half and the end are in connection.py, what encrypts and decrypts is in engine.py and openssl.pyx.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from ... import stdlib
from ...core.failures import INTERRUPTIONS
from . import state
from .connection import TLSConnection
from .handshake import Handshake, check_timeouts, default_context
from .handshake_limiter import HandshakeLimiter

# What get_extra_info knows once the handshake is done, and the SSL object's method that answers.
_OF_THE_HANDSHAKE = {"peercert": "getpeercert", "cipher": "cipher", "compression": "compression"}


class _AsyncioProtocol(asyncio.Protocol):
    """What ``isinstance`` sees of a TLSProtocol: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class TLSProtocol:
    """What the lower transport calls: it makes the handshake, and hands on what can be decrypted.

    The lower transport owns the descriptor. Only the loop's thread may call. The end is ``connection_lost``, which drops the
    application's objects. While the application pauses reading, so does the lower transport.

    ``sslcontext`` may be None on the client side, for the default context (no host name is checked if
    ``server_hostname`` is empty). ``waiter`` is a future that is resolved when the handshake is done, or gets its
    exception. With ``call_connection_made=False`` the application's protocol already knows its connection (start_tls).
    Timeouts are in seconds. Raises ValueError if they aren't positive, if a server has no context, or for a
    ``server_hostname`` that can't be one. ``server`` is the Server whose client this is: it closes its clients through their
    TLS transports, so that they end with a close_notify. Its ``limiter`` is asked before each flight of the handshake.

    The observable behaviour is that of asyncio's own: https://docs.python.org/3/library/asyncio-protocol.html
    """

    def __init__(
        self,
        app_transport: Any,
        loop: asyncio.AbstractEventLoop,
        app_protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext | None,
        waiter: asyncio.Future[None] | None,
        server_side: bool,
        server_hostname: str | None,
        call_connection_made: bool,
        ssl_handshake_timeout: float | None,
        ssl_shutdown_timeout: float | None,
        server: Any,
        limiter: HandshakeLimiter | None,
    ) -> None:
        check_timeouts(ssl_handshake_timeout, ssl_shutdown_timeout)
        if not sslcontext:
            sslcontext = default_context(server_side, server_hostname)
        self.connection = TLSConnection(
            self, app_transport, loop, sslcontext, server_side, server_hostname, ssl_shutdown_timeout
        )
        self._engine = self.connection.engine
        self._loop = loop
        self._server_side = server_side
        self._server = server
        self._extra: dict[str, Any] = {"sslcontext": sslcontext}
        self._handshake: Handshake | None = Handshake(loop, waiter, ssl_handshake_timeout, limiter)  # until it is over
        self._connected = not call_connection_made  # the application had connection_made and not connection_lost
        self._reading_paused = False  # by the application
        self._application_heard = False  # it was given data: deadlines.py asks
        self._resume_scheduled = False
        self.set_app_protocol(app_protocol)

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Protocol]:  # type: ignore[override]
        return _AsyncioProtocol

    def __repr__(self) -> str:
        return f"<TLSProtocol {self.connection.describe()}>"

    # Calls from below

    def connection_made(self, transport: Any) -> None:
        """The lower transport is connected: begin the handshake."""
        if self.connection.state != state.NEW or transport.is_closing():
            self.connection.enter(state.CLOSED)
            self._end_handshake(ConnectionAbortedError("the connection was closed before its TLS handshake"))
            transport.abort()
            return
        self.connection.lower = transport
        self.connection.enter(state.HANDSHAKE)
        if self._server is not None:
            self._server._attach_tls(self.connection.app_transport, transport)
        if self._handshake is not None:
            self._handshake.start(self, self._handshake_timed_out)
        if not self._server_side or self._engine.unread():
            self._use_input()
        # Else the client speaks first. OpenSSL would make its buffers now, 34 KiB for each client that waits for its turn.

    def connection_lost(self, exc: BaseException | None) -> None:
        """The lower transport is gone: schedule the application's connection_lost, and drop everything."""
        connection = self.connection
        connected = self._connected
        # The application may keep its transport: it must keep neither its protocol nor, in a cycle, itself alive. All is
        # changed before anybody else's code runs, and dropped at the end: destructors see a closed connection.
        protocol, transport, server = connection.app_protocol, connection.app_transport, self._server
        self._connected = False
        self._server = None
        reason = connection.lost(exc)
        try:
            if connected:
                self._loop.call_soon(protocol.connection_lost, reason)
        finally:
            self._end_handshake(reason or ConnectionAbortedError("the connection was closed during its TLS handshake"))
            if server is not None:
                server._detach_tls(transport)

    def data_received(self, data: bytes) -> None:
        """The lower transport has read something."""
        self._engine.feed(data)
        self._use_input()

    def go_on(self) -> None:
        """Go on with the handshake: the limiter's answer."""
        self.connection.resume_lower()
        if self._handshake is not None and self.connection.state == state.HANDSHAKE:
            self._handshake.admitted()
            self.data_received(b"")

    def eof_received(self) -> bool:
        """The lower stream ended, with or without a close_notify: asyncio treats both as the end of the data."""
        if self._loop.get_debug():
            stdlib.logger().debug("%r received EOF", self)
        self.connection.outgoing.lower_ended = True
        try:
            if self.connection.state == state.OPEN:
                if self._reading_paused or self._resume_scheduled:
                    return True  # the rest is for when the application reads again
                self._end_of_data()
            elif self.connection.state == state.HANDSHAKE:
                self._handshake_failed(ConnectionResetError("the peer closed the connection during the TLS handshake"))
            elif self.connection.state == state.SHUTDOWN:
                self.connection.close_lower()
        finally:
            self.connection.advance()
        return False

    def pause_writing(self) -> None:
        """The lower transport has enough for now."""
        self.connection.outgoing.lower_full = True

    def resume_writing(self) -> None:
        """The lower transport takes more."""
        self.connection.outgoing.lower_full = False
        self.connection.advance()

    def feed_early_data(self, data: bytes) -> None:
        """Take bytes of the peer's handshake that somebody else has read before connection_made."""
        self._engine.feed(data)

    def _use_input(self) -> None:
        # What can run the application's code, in a call from below, runs in here.
        self.connection.calls += 1
        try:
            handshaking = self.connection.state == state.HANDSHAKE
            if handshaking and not self._go_on_with_handshake():
                return
            if self.connection.state == state.OPEN:
                # A handshake alone is no reason to ask the application for a buffer.
                if not self._reading_paused and (not handshaking or self._engine.unread() > 0):
                    self._deliver()
                if self.connection.outgoing.lower_ended and not self._reading_paused and not self._resume_scheduled:
                    self._end_of_data()
            elif self.connection.state == state.SHUTDOWN:
                self.connection.await_close_notify()
        except INTERRUPTIONS:
            # The run of the loop ends here. What was written leaves now, and the connection goes on when the loop runs again.
            self.connection.flush()
            self._deliver_later()
            raise
        finally:
            self.connection.calls -= 1
            self.connection.advance()

    # Handshake

    def _go_on_with_handshake(self) -> bool:
        # True if it was this connection's turn.
        assert self._handshake is not None
        if not self._handshake.may_go_on(self.go_on):
            self.connection.pause_lower()
            return False
        self._do_handshake()
        while self.connection.state == state.HANDSHAKE and self._engine.feed_more():
            self._do_handshake()
        return True

    def _do_handshake(self) -> None:
        try:
            self.connection.sslobj.do_handshake()
        except ssl.SSLWantReadError:
            return
        except Exception as exc:
            self._handshake_failed(exc)
            return
        if self.connection.state != state.HANDSHAKE:
            return  # a callback of the context's has aborted
        self.connection.enter(state.OPEN)
        if self._handshake is not None:
            self._handshake.succeeded(self)
        self._extra["ssl_object"] = self.connection.sslobj
        if not self._connected:
            self._connected = True
            try:
                self.connection.app_protocol.connection_made(self.connection.app_transport)
            except INTERRUPTIONS:
                self._end_handshake(None)
                raise
            except Exception as exc:
                self.connection.fail(exc, "Fatal error: protocol.connection_made() call failed.")
                return
            if self._server is not None:
                self._server._on_connected(self.connection.app_transport)
        self._end_handshake(None)

    def _handshake_timed_out(self, exc: ConnectionAbortedError) -> None:
        self.connection.fail(exc)

    def _handshake_failed(self, exc: Exception) -> None:
        if isinstance(exc, ssl.CertificateError):
            self.connection.fail(exc, "SSL handshake failed on verifying the certificate")
        else:
            self.connection.fail(exc, "SSL handshake failed")
        self._end_handshake(exc)

    def _end_handshake(self, exc: BaseException | None) -> None:
        handshake = self._handshake
        self._handshake = None
        if handshake is not None:
            handshake.resolve(exc)

    # Reading

    def get_app_protocol(self) -> Any:
        """The application's protocol; None after connection_lost."""
        return self.connection.app_protocol

    def set_app_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        self._app_buffered = isinstance(protocol, asyncio.BufferedProtocol)
        self.connection.app_protocol = protocol

    def _deliver(self) -> None:
        # Hand the application what has arrived, until there is no more, or it pauses or closes. Each call looks its method up,
        # as in the plain transports: programs replace them.
        try:
            while self.connection.state == state.OPEN and not self._reading_paused:
                if self._app_buffered:
                    filled = self._engine.read_into(self.connection.app_protocol.get_buffer(-1))
                    if filled:
                        self._application_heard = True
                        self.connection.app_protocol.buffer_updated(filled)
                    elif self._engine.input == state.MORE:
                        self._read_on_later()
                        return
                else:
                    data = self._engine.read()
                    if data:
                        self._application_heard = True
                        self.connection.app_protocol.data_received(data)
                    elif self._engine.input == state.MORE:
                        self._read_on_later()
                        return
                if self._engine.input == state.WANT_READ:
                    return
                if self.connection.outgoing.size:
                    self.connection.send()  # an answer is not held until what comes next has been handled
                if self._engine.input == state.FAILED:
                    raise self._engine.take_error()
                if self._engine.input == state.EOF and not self._reading_paused:
                    self._end_of_data()
        except Exception as exc:
            self.connection.fail(exc, "Fatal error on SSL protocol")

    def _read_on_later(self) -> None:
        # A piece of what came was for OpenSSL alone, such as KeyUpdates: others have their turn (rule 3).
        self.connection.pause_lower()
        self._deliver_later()

    def _end_of_data(self) -> None:
        # The peer sends no more: tell the application, then close.
        if self.connection.state != state.OPEN:
            return
        try:
            keep_open = self.connection.app_protocol.eof_received()
        except INTERRUPTIONS:
            self.connection.close()
            raise
        except BaseException as exc:
            self.connection.fail(exc, "Error calling eof_received()")
            return
        if keep_open:
            stdlib.logger().warning("returning true from eof_received() has no effect when using ssl")
        self.connection.close()

    def is_reading(self) -> bool:
        """Return True if the application takes data."""
        return not self._reading_paused and self.connection.state <= state.OPEN

    def pause_reading(self) -> None:
        """Deliver nothing until resume_reading(); what arrives stays in the kernel."""
        if not self._reading_paused and self.connection.state <= state.OPEN:
            self._reading_paused = True
            self.connection.pause_lower()

    def resume_reading(self) -> None:
        """Deliver again, from the next turn on."""
        if not self._reading_paused or self.connection.state > state.OPEN:
            return
        self._reading_paused = False
        self._deliver_later()

    def _deliver_later(self) -> None:
        if not self._resume_scheduled:
            self._resume_scheduled = True
            self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._resume_scheduled = False
        if self.connection.state != state.OPEN or self._reading_paused:
            return
        try:
            self._use_input()
        finally:
            if self.connection.state == state.OPEN and not self._reading_paused and not self._resume_scheduled:
                self.connection.resume_lower()

    # What the application asks through its transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See TLSTransport."""
        if name in self._extra:
            return self._extra[name]
        if name in _OF_THE_HANDSHAKE and "ssl_object" in self._extra:
            # Made when somebody asks: few do, to decode a certificate takes as long as many messages, and all of it is memory.
            found = self._extra[name] = getattr(self.connection.sslobj, _OF_THE_HANDSHAKE[name])()
            return found
        if self.connection.lower is None:
            return default
        if name == "socket":
            self.connection.flush()
        return self.connection.lower.get_extra_info(name, default)
