"""The handshake of a TLS connection, but for OpenSSL: a time limit, a place in the server's queue, a future that waits."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from ... import stdlib
from .handshake_limiter import HandshakeLimiter

HANDSHAKE_TIMEOUT = 60.0


class Handshake:
    """The handshake of one connection. The TLSProtocol owns it, and drops it when it has resolved the future.

    Only the loop's thread may call. ``limiter`` is None where nothing limits: no flight waits.
    """

    __slots__ = ("_admitted", "_begun", "_limiter", "_loop", "_started", "_timeout", "_timer", "_waiter")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        waiter: asyncio.Future[None] | None,
        timeout: float | None,
        limiter: HandshakeLimiter | None,
    ) -> None:
        self._loop = loop
        self._waiter = waiter
        self._timeout = HANDSHAKE_TIMEOUT if timeout is None else timeout
        self._limiter = limiter
        self._begun = False  # a flight of the peer was handled
        self._admitted = False  # the limiter has called back for a flight that is not handled yet
        self._timer: asyncio.TimerHandle | None = None
        self._started = 0.0

    def start(self, connection: Any, timed_out: Callable[[ConnectionAbortedError], object]) -> None:
        """Start the time limit. At its end ``timed_out`` is called with the exception."""
        if self._loop.get_debug():
            stdlib.logger().debug("%r starts SSL handshake", connection)
            self._started = self._loop.time()
        self._timer = self._loop.call_later(self._timeout, self._end_of_time, timed_out)

    def _end_of_time(self, timed_out: Callable[[ConnectionAbortedError], object]) -> None:
        reason = f"SSL handshake is taking longer than {self._timeout} seconds: aborting the connection"
        timed_out(ConnectionAbortedError(reason))

    def may_go_on(self, go_on: Callable[[], object]) -> bool:
        """Return True if the peer's flight may be handled now. Else ``go_on`` is called in a later turn."""
        if self._admitted:
            self._admitted = False
        elif self._limiter is not None and not self._limiter.admit(go_on, self._begun):
            return False
        self._begun = True
        return True

    def admitted(self) -> None:
        """The limiter has called back: the next flight may be handled."""
        self._admitted = True

    def succeeded(self, connection: Any) -> None:
        """The connection is open: the time limit no longer counts."""
        self._stop_clock()
        if self._loop.get_debug():
            elapsed = self._loop.time() - self._started
            stdlib.logger().debug("%r: SSL handshake took %.1f ms", connection, elapsed * 1e3)

    def _stop_clock(self) -> None:
        timer = self._timer
        self._timer = None
        if timer is not None:
            timer.cancel()

    def resolve(self, exc: BaseException | None) -> None:
        """Stop the clock, and resolve the future: with None if the connection is open, else with the reason."""
        self._stop_clock()
        waiter = self._waiter
        self._waiter = None
        if waiter is None or waiter.done():
            return
        if exc is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(exc)


def check_timeouts(handshake: float | None, shutdown: float | None) -> None:
    """Raise ValueError for a time limit, in seconds, that isn't positive, NaN too. None is the default."""
    if handshake is not None and not handshake > 0:
        raise ValueError(f"ssl_handshake_timeout should be a positive number, got {handshake}")
    if shutdown is not None and not shutdown > 0:
        raise ValueError(f"ssl_shutdown_timeout should be a positive number, got {shutdown}")


def default_context(server_side: bool, server_hostname: str | None) -> ssl.SSLContext:
    """Return the context of a client that was given none. Raise ValueError for a server, which needs a certificate."""
    if server_side:
        raise ValueError("Server side SSL needs a valid SSLContext")
    context = ssl.create_default_context()
    if not server_hostname:
        context.check_hostname = False
    return context
