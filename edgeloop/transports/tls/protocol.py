"""The TLS engine: between a stream transport below and an application protocol above.

TLSProtocol is the protocol of the lower transport; the application holds a TLSTransport (transport.py). The lower
transport may be any asyncio stream transport, another TLSTransport too.

This file has what the lower transport calls, the handshake, and the end. The way in is in reading.py, the way out
in writing.py, the SSL object in records.py, what encrypts in engine.py and openssl.pyx.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from ... import stdlib
from . import state
from .reading import TLSReader
from .transport import TLSTransport

_STATE_NAMES = ("new", "handshake", "open", "flushing", "shutdown", "closed")

# What get_extra_info knows once the handshake is done, and the SSL object's method that answers.
_OF_THE_HANDSHAKE = {"peercert": "getpeercert", "cipher": "cipher", "compression": "compression"}

HANDSHAKE_TIMEOUT = 60.0
SHUTDOWN_TIMEOUT = 30.0

# How much of what the peer had under way when we closed is thrown away while its close_notify is awaited. Closing a
# socket with unread bytes makes the kernel send a reset, which can overtake what we wrote last.
LINGER = 256 * 1024


class _AsyncioProtocol(asyncio.Protocol):
    """What ``isinstance`` sees of a TLSProtocol: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class TLSProtocol(TLSReader):
    """One encrypted connection.

    ``sslcontext`` may be None on the client side, for the default context (no host name is checked if
    ``server_hostname`` is empty). ``waiter`` is a future that is resolved when the handshake is done, or gets its
    exception. With ``call_connection_made=False`` the protocol already knows its connection (start_tls). Timeouts are
    in seconds; ValueError if they aren't positive or if a server has no context. ``server`` is the Server whose client
    this is: it closes its clients through their TLS transports, so that they end with a close_notify.

    The observable behaviour is that of asyncio's own: https://docs.python.org/3/library/asyncio-protocol.html
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        app_protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext | None,
        waiter: asyncio.Future[None] | None,
        server_side: bool = False,
        server_hostname: str | None = None,
        call_connection_made: bool = True,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        server: Any = None,
        handshake_limiter: Any = None,
    ) -> None:
        check_timeouts(ssl_handshake_timeout, ssl_shutdown_timeout)
        self._handshake_timeout = HANDSHAKE_TIMEOUT if ssl_handshake_timeout is None else ssl_handshake_timeout
        self._shutdown_timeout = SHUTDOWN_TIMEOUT if ssl_shutdown_timeout is None else ssl_shutdown_timeout
        if not sslcontext:
            sslcontext = _default_context(server_side, server_hostname)
        TLSReader.__init__(self, loop, app_protocol, sslcontext, server_side, server_hostname)
        self._waiter = waiter
        self._server_side = server_side
        self._server = server
        self._handshake_limiter = handshake_limiter  # asked before the handshake begins
        self._extra: dict[str, Any] = {"sslcontext": sslcontext}
        self._connected = not call_connection_made  # the application had connection_made and not connection_lost
        self._exception: BaseException | None = None  # what connection_lost will say
        self._timer: asyncio.TimerHandle | None = None
        self._handshake_start = 0.0
        self._unsent_at_timer = 0
        self._discarded = 0
        self.app_transport: Any = TLSTransport(self)

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Protocol]:  # type: ignore[override]
        return _AsyncioProtocol

    def __repr__(self) -> str:
        return f"<TLSProtocol {self.describe()}>"

    def describe(self) -> str:
        """The state, and what lies below, for a repr."""
        return f"{_STATE_NAMES[self._state]} over {self._lower!r}"

    # Calls from below

    def connection_made(self, transport: Any) -> None:
        """The lower transport is connected: begin the handshake."""
        if self._state != state.NEW or transport.is_closing():
            self._state = state.CLOSED
            self._wake_waiter(ConnectionAbortedError("the connection was closed before its TLS handshake"))
            transport.abort()
            return
        self._lower = transport
        self._state = state.HANDSHAKE
        if self._server is not None:
            self._server._attach(self.app_transport)
        if self._loop.get_debug():
            stdlib.logger().debug("%r starts SSL handshake", self)
            self._handshake_start = self._loop.time()
        self._timer = self._loop.call_later(self._handshake_timeout, self._handshake_timed_out)
        if self._server_side and not self._engine.unread():
            # The client speaks first. OpenSSL would make its buffers now, 34 KiB for each client that waits for its turn.
            return
        self._busy += 1
        try:
            self._handshake()
        except (KeyboardInterrupt, SystemExit):
            self._interrupted()
            raise
        finally:
            self._busy -= 1
            self._advance()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The lower transport is gone: tell the application once, and let go of everything."""
        reason = exc if self._exception is None else self._exception
        connected = self._connected
        # The application may keep its transport: that must keep neither its protocol nor, in a cycle, the transport. All is
        # changed before anybody else's code runs, and they are let go at the end: their destructors see a closed connection.
        protocol, transport, server = self._app_protocol, self.app_transport, self._server
        self._state = state.CLOSED
        self._connected = False
        self._lost_writes += 1
        self._exception = None
        self._app_protocol = self.app_transport = self._server = self._handshake_limiter = None
        self._drop_output()
        self._cancel_timer()
        try:
            if connected:
                self._loop.call_soon(protocol.connection_lost, reason)
        finally:
            self._wake_waiter(reason or ConnectionAbortedError("the connection was closed during its TLS handshake"))
            if server is not None:
                server._detach(transport)

    def data_received(self, data: bytes) -> None:
        """What the peer has sent."""
        self._engine.feed(data)
        handshaking = self._state == state.HANDSHAKE
        self._busy += 1
        try:
            if handshaking:
                if self._handshake_limiter is not None and not self._admitted():
                    return
                self._handshake()
                while self._state == state.HANDSHAKE and self._engine.feed_more():
                    self._handshake()
            if self._state == state.OPEN:
                # A handshake alone is no reason to ask the application for a buffer.
                arrived = not handshaking or self._engine.unread() > 0
                if arrived and not self._reading_paused:
                    self._deliver()
            elif self._state == state.SHUTDOWN:
                self._await_close_notify()
        except (KeyboardInterrupt, SystemExit):
            self._interrupted()
            raise
        finally:
            self._busy -= 1
            self._advance()

    def _admitted(self) -> bool:
        handshake_limiter = self._handshake_limiter
        self._handshake_limiter = None
        if handshake_limiter.admit(self):
            return True
        self._pause_lower()
        return False

    def begin(self) -> None:
        """The time has come for the handshake."""
        self._resume_lower()
        if self._state == state.HANDSHAKE:
            self.data_received(b"")

    def eof_received(self) -> bool:
        """The lower stream ended, with or without a close_notify: asyncio treats both as the end of the data."""
        if self._loop.get_debug():
            stdlib.logger().debug("%r received EOF", self)
        self._lower_eof = True
        try:
            if self._state == state.OPEN:
                if self._reading_paused or self._resume_scheduled:
                    return True  # the rest is for when the application reads again
                self._end_of_data()
            elif self._state == state.HANDSHAKE:
                self._handshake_failed(ConnectionResetError("the peer closed the connection during the TLS handshake"))
            elif self._state == state.SHUTDOWN:
                self._close_lower()
        finally:
            self._advance()
        return False

    def resume_writing(self) -> None:
        """The lower transport takes more."""
        self._lower_full = False
        self._advance()

    def feed_early_data(self, data: bytes) -> None:
        """Bytes of the peer's handshake that somebody else has read before connection_made."""
        self._engine.feed(data)

    def _advance(self) -> None:
        """What every call from below ends with: send what there is to send, and go on closing."""
        if self._busy or self._encrypting or self._state == state.CLOSED:
            return
        if self._write_buffer or self._engine.unsent() or self._writing_paused:
            self._send_write_buffer()
        if self._small_writes:
            self._call_ended()
        if self._state == state.FLUSHING:
            self._go_on_closing()

    def _go_on_closing(self) -> None:
        if not self._write_buffer:
            self._send_close_notify()
        elif not self._write_wants_read:
            self._pause_lower()

    # Handshake

    def _handshake(self) -> None:
        try:
            self._sslobj.do_handshake()
        except ssl.SSLWantReadError:
            return
        except Exception as exc:
            self._handshake_failed(exc)
            return
        self._cancel_timer()
        self._state = state.OPEN
        if self._loop.get_debug():
            elapsed = self._loop.time() - self._handshake_start
            stdlib.logger().debug("%r: SSL handshake took %.1f ms", self, elapsed * 1e3)
        self._extra["ssl_object"] = self._sslobj
        if not self._connected:
            self._connected = True
            try:
                self._app_protocol.connection_made(self.app_transport)
            except (KeyboardInterrupt, SystemExit):
                self._wake_waiter(None)
                raise
            except Exception as exc:
                self._fatal_error(exc, "Fatal error: protocol.connection_made() call failed.")
                return
        self._wake_waiter(None)

    def _handshake_failed(self, exc: Exception) -> None:
        if isinstance(exc, ssl.CertificateError):
            self._fatal_error(exc, "SSL handshake failed on verifying the certificate")
        else:
            self._fatal_error(exc, "SSL handshake failed")
        self._wake_waiter(exc)

    def _handshake_timed_out(self) -> None:
        self._fatal_error(
            ConnectionAbortedError(
                f"SSL handshake is taking longer than {self._handshake_timeout} seconds: aborting the connection"
            )
        )

    def _wake_waiter(self, exc: BaseException | None) -> None:
        waiter = self._waiter
        self._waiter = None
        if waiter is None or waiter.done():
            return
        if exc is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(exc)

    # Closing

    def is_closing(self) -> bool:
        """Whether this transport or the one below it is closing or closed."""
        self._let_go()
        return self._state > state.OPEN or (self._lower is not None and self._lower.is_closing())

    def is_unclosed(self) -> bool:
        """Whether there is a connection that the application forgot to close."""
        return self._state == state.HANDSHAKE or self._state == state.OPEN

    def close(self) -> None:
        """Begin an orderly end; does nothing if there is one already."""
        if self._state == state.OPEN:
            self._state = state.FLUSHING
            self._start_shutdown_timer()
            if self._encrypting:
                return  # a callback of the context's, in the middle of a write: its end goes on
            self._send_write_buffer()
            if self._state == state.FLUSHING:
                self._go_on_closing()
            self._lower.get_write_buffer_size()  # the program may go on with something else: it lets go of what it gathers
        elif self._state < state.OPEN:
            self.abort()

    def abort(self) -> None:
        """End at once."""
        if self._state == state.CLOSED:
            return
        self._let_go()  # as asyncio's write() has done by now
        self._state = state.CLOSED
        self._drop_output()
        if self._lower is not None:
            self._lower.abort()

    def _send_close_notify(self) -> None:
        self._state = state.SHUTDOWN
        if self._lower_eof:
            self._close_lower()  # as asyncio does it: who ended without a close_notify gets none
            return
        # unwrap() fails when there is data that nobody has read.
        self._discarded += self._discard()
        try:
            self._sslobj.unwrap()
        except ssl.SSLWantReadError:
            peer_done = False
        except ssl.SSLError as exc:
            self._fatal_error(exc)
            return
        else:
            peer_done = True
        if peer_done or self._discarded > LINGER:
            self._close_lower()
        else:
            self._send_outgoing()
            self._resume_lower()

    def _await_close_notify(self) -> None:
        self._discarded += self._discard()
        if self._engine.input == state.FAILED:
            self._fatal_error(self._take_input_error())
        elif self._engine.input == state.EOF or self._discarded > LINGER:
            self._close_lower()

    def _close_lower(self) -> None:
        # The timer stays: the lower transport may have much to send, to a peer that doesn't read.
        self._lower_full = False
        self._send_outgoing()
        self._lower.close()

    def _start_shutdown_timer(self) -> None:
        self._unsent_at_timer = self._unsent()
        self._timer = self._loop.call_later(self._shutdown_timeout, self._shutdown_timed_out)

    def _shutdown_timed_out(self) -> None:
        if self._unsent() < self._unsent_at_timer:
            # The time is for the peer's answer. As long as it takes what was written, the shutdown hasn't begun.
            self._start_shutdown_timer()
        else:
            self._fatal_error(TimeoutError("SSL shutdown timed out"))

    def _unsent(self) -> int:
        size: int = self._lower.get_write_buffer_size()
        return self._unsent_here() + size

    def _cancel_timer(self) -> None:
        timer = self._timer
        self._timer = None
        if timer is not None:
            timer.cancel()

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        if self._exception is None:
            self._exception = exc
        self._let_go()  # what was written before it failed
        self._state = state.CLOSED
        if isinstance(exc, ssl.SSLError):
            # The alert by which the peer learns what was wrong (RFC 8446, section 6.2).
            self._lower_full = False
            self._send_outgoing()
        self._lower.abort()
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                stdlib.logger().debug("%r: %s", self, message, exc_info=exc)
        elif not isinstance(exc, asyncio.CancelledError):
            self._loop.call_exception_handler(
                {"message": message, "exception": exc, "transport": self._lower, "protocol": self}
            )

    # What the application asks through its transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See TLSTransport."""
        if name in self._extra:
            return self._extra[name]
        if name in _OF_THE_HANDSHAKE and "ssl_object" in self._extra:
            # Made when somebody asks: few do, to decode a certificate takes as long as many messages, and all of it is memory.
            found = self._extra[name] = getattr(self._sslobj, _OF_THE_HANDSHAKE[name])()
            return found
        if self._lower is None:
            return default
        if name == "socket":
            self._let_go()
        return self._lower.get_extra_info(name, default)


def check_timeouts(handshake: float | None, shutdown: float | None) -> None:
    """ValueError for a time limit, in seconds, that isn't positive, nor NaN; None is the default."""
    if handshake is not None and not handshake > 0:
        raise ValueError(f"ssl_handshake_timeout should be a positive number, got {handshake}")
    if shutdown is not None and not shutdown > 0:
        raise ValueError(f"ssl_shutdown_timeout should be a positive number, got {shutdown}")


def _default_context(server_side: bool, server_hostname: str | None) -> ssl.SSLContext:
    if server_side:
        raise ValueError("Server side SSL needs a valid SSLContext")
    context = ssl.create_default_context()
    if not server_hostname:
        context.check_hostname = False
    return context
