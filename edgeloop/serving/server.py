"""``Server``: the listening sockets of one create_server call and their connections."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from .. import stdlib
from ..core.schedule import Scheduler
from ..core.wheel import Wheel
from . import deadlines
from .admission import Admission
from .deadlines import Deadlines
from .draining import Drained, Draining, check_timeout
from .limits import NO_LIMITS, Limits, ServerLimits
from .listener import Connect, Listener, SpareDescriptor
from .refusals import Refusals
from .server_connections import CLOSED, FINISHED, IDLE, SERVING, ServerConnections
from .status import ServerStatus, waiting_in

if TYPE_CHECKING:
    import ssl

    # Alarms are imported when the first is set. A status and a drain may be asked for when no descriptor is left to import by.
    from .alarms import Alarm, Alarms, Callback
    from .proxy_protocol import TrustedPeers

# From 3.12.1 on wait_closed waits for the connections too; before, it returned at once for a closed server.
_WAITS_FOR_CONNECTIONS = sys.version_info >= (3, 12, 1)
# From 3.14 on a serve_forever that is cancelled closes the connections too, or it would wait for them.
_CLOSES_CLIENTS = sys.version_info >= (3, 14)


class Server(ServerConnections, asyncio.AbstractServer):
    """What ``create_server`` returns. asyncio doc: Server Objects.

    Owns the listening sockets until ``close``, and no connection: a transport attaches itself, and detaches just before it
    closes its descriptor. With TLS that is the stream transport below. For the loop's thread alone.
    """

    def __init__(
        self,
        loop: Scheduler,
        sockets: list[socket.socket],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        backlog: int,
        spare_descriptor: SpareDescriptor,
        connect: Connect | None = None,
        unlink: Callable[[], None] | None = None,
        ssl_context: Any = None,
        limits: Limits = NO_LIMITS,
        is_ours: bool = False,
        wheel: Callable[[], Wheel] | None = None,
    ) -> None:
        ServerConnections.__init__(self, loop, connect, limits)
        self._wheel = wheel
        self._sockets: list[socket.socket] | None = sockets
        self._protocol_factory = protocol_factory
        self._backlog = backlog
        self._spare_descriptor = spare_descriptor
        self._connect_accepted = connect  # by _update_connect: the listeners', with proxies after a header
        self._proxies: TrustedPeers | None = None  # by _update_connect
        self._unlink = unlink
        self._ssl_context = ssl_context  # by set_ssl_context; asyncio's name: websockets looks here for its scheme
        self._is_ours = is_ours  # the loop has made the sockets, so that no other process has them
        self._alarms: Alarms | None = None  # from the first alarm on
        self._suspended: dict[str, float] = {}  # why nothing is accepted, and since when on the loop's clock
        # Counts of what listeners that are stopped have accepted, and of the rest.
        self._accepted = 0
        self._high_mark = 0
        self._deadlines: Deadlines | None = None  # by _apply_deadlines, once there was a timeout or a rate
        self._waiters: list[asyncio.Future[None]] | None = []  # None once FINISHED, as asyncio's
        self._serving_forever: asyncio.Future[None] | None = None
        self._update_connect()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    def _update_connect(self) -> None:
        trusted = self._limits.proxy_protocol
        self._connect_accepted = self._connect
        self._proxies = None
        if trusted is not None:
            from .proxy_protocol import TrustedPeers, connect_after_header

            self._proxies = TrustedPeers(trusted)
            self._connect_accepted = connect_after_header(self._proxies, self, self._connect)
        for listener in self._listeners:
            listener.use_connect(self._connect_accepted)

    # asyncio.Server

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the server's loop."""
        return self._loop  # type: ignore[return-value]

    def is_serving(self) -> bool:
        """Return True while new connections are accepted."""
        return self._state == SERVING

    @property
    def sockets(self) -> tuple[stdlib.TransportSocket, ...]:
        """The listening sockets; empty once the server is closed."""
        return tuple(stdlib.TransportSocket(sock) for sock in self._sockets or ())

    def _start_serving(self) -> None:
        if self._state != IDLE or self._sockets is None:
            return
        self._state = SERVING
        try:
            for sock in self._sockets:
                sock.listen(self._backlog)
                self._listeners.append(
                    Listener(
                        self._loop, sock, self._protocol_factory, self, self._spare_descriptor, self._connect_accepted
                    )
                )
            self._apply_limits()
            self._apply_suspension()
            self._apply_deadlines()
        except BaseException:
            self._stop_listening()  # all or none, and it can be tried again
            raise

    def _stop_listening(self) -> None:
        listeners, self._listeners = self._listeners, []
        if self._state == SERVING:
            self._state = IDLE
        for listener in listeners:
            self._stop(listener)

    def _stop(self, listener: Listener) -> None:
        self._accepted += listener.accepted
        self._high_mark = max(self._high_mark, listener.high_mark)
        listener.stop()

    async def start_serving(self) -> None:
        """Accept connections. Does nothing if the server accepts them already. TypeError, as asyncio's, if it is closed."""
        if self._sockets is None:
            raise TypeError(f"server {self!r} is closed")
        self._start_serving()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept connections until cancelled, and close then. RuntimeError if closed or awaited twice."""
        if self._serving_forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._start_serving()
        self._serving_forever = asyncio.get_running_loop().create_future()
        try:
            await self._serving_forever
        except asyncio.CancelledError:
            try:
                self.close()
                if _CLOSES_CLIENTS:
                    self.close_clients()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._serving_forever = None

    def close(self) -> None:
        """Stop accepting and close the listening sockets; connections live on."""
        self._close_sockets()
        self._end_serving_forever()

    def _close_sockets(self) -> None:
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        assert self._state < CLOSED
        self._state = CLOSED
        self._choose_on_end()
        self._stop_listening()
        if self._alarms is not None:
            self._alarms.stop()
        self._unlink_path()
        for sock in sockets:
            sock.close()
        if self._draining is not None:
            self._draining.tell_all()
        self._check_end()

    def _unlink_path(self) -> None:
        unlink, self._unlink = self._unlink, None  # once: a successor may have bound the path since
        if unlink is not None:
            unlink()

    def _end_serving_forever(self) -> None:
        if self._serving_forever is not None and not self._serving_forever.done():
            self._serving_forever.cancel()
            self._serving_forever = None

    async def wait_closed(self) -> None:
        """Wait until the server is closed and, from Python 3.12.1 on, its last connection too."""
        if self._state == FINISHED or (self._state == CLOSED and not _WAITS_FOR_CONNECTIONS):
            return
        assert self._waiters is not None
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _finish(self) -> None:
        assert self._state >= CLOSED
        self._state = FINISHED
        self._on_end = None
        waiters, self._waiters = self._waiters or [], None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._end_serving_forever()  # if it is not over yet: that was drained

    # Beyond asyncio: docs/serving.md

    def status(self) -> ServerStatus:
        """Return the counts of connections. A closed server may be asked too."""
        return ServerStatus(
            open=len(self._connections),
            accepted=self._accepted + sum(listener.accepted for listener in self._listeners),
            refused=self._refused,
            timed_out=dict(self._timed_out),
            high_mark=max([self._high_mark, *(listener.high_mark for listener in self._listeners)]),
            refusing=self._refusing(),
            waiting=waiting_in(listener.sock for listener in self._listeners),
            full=self._is_full(),
            suspended_since=min(self._suspended.values(), default=None),
            draining=self._draining is not None,
            delay=None if self._alarms is None else self._alarms.delay,
        )

    def set_limits(self, **limits: Unpack[ServerLimits]) -> None:
        """Change the limits while the server runs; a name that isn't given stays as it is.

        The arguments are those of ``create_server``. Connections that are open stay, also above a lower limit. Raises
        TypeError and ValueError, which name the argument.
        """
        self._limits = self._limits.changed(limits, "set_limits")
        self._update_connect()
        self._apply_limits()
        self._apply_deadlines()

    def _apply_deadlines(self) -> None:
        wanted = deadlines.concern(self._limits)
        if self._deadlines is None:
            if not wanted or self._wheel is None:
                return
            self._deadlines = Deadlines(self._loop, self._wheel(), self)
        self._deadlines.set_limits(self._limits, self._connections)
        for listener in self._listeners:
            listener.deadlines = self._deadlines if wanted else None

    def _apply_limits(self) -> None:
        # What counts connections: max_connections, overload, max_connections_per_peer, and alarms.
        limits = self._limits
        waits = limits.overload in (None, "wait")
        refuses = limits.max_connections is not None and not waits
        if refuses or limits.max_connections_per_peer is not None:
            if self._refusals is None:
                self._refusals = Refusals(self)
            if self._admission is None:
                self._admission = Admission(self, self._refusals)
            self._admission.set_limits(limits, self._proxies)
        else:
            self._admission = None
        alarm_at = None if self._alarms is None else self._alarms.threshold()
        for listener in self._listeners:
            listener.set_limits(
                limits.max_connections,
                waits,
                self._admission,
                limits.max_connections_per_peer is not None,
                alarm_at,
            )
        self._choose_on_end()

    def suspend(self) -> None:
        """Accept nobody until ``resume``: who connects waits in the kernel's queue, and connections live on.

        Does nothing the second time, on a closed server, or while it is drained.
        """
        self._suspend("program")

    def resume(self) -> None:
        """Undo ``suspend``, and accept those who wait. Does nothing if the server is not suspended."""
        self._resume("program")

    def _suspend(self, reason: str) -> None:
        if self._state < CLOSED and self._draining is None and reason not in self._suspended:
            self._suspended[reason] = self._loop.time()
            self._apply_suspension()

    def _resume(self, reason: str) -> None:
        if self._suspended.pop(reason, None) is not None and not self._suspended:
            for listener in self._listeners:
                listener.resume()

    def _apply_suspension(self) -> None:
        if self._suspended:
            for listener in self._listeners:
                listener.suspend()

    def suspend_on_delay(self, high: float | None, low: float | None = None) -> None:
        """Suspend the server while the loop is late: from a delay of ``high`` seconds on, until it is ``low`` or less.

        ``low`` is half of ``high`` if it is None. ``high=None`` ends it. The delay is measured every tenth of a second.
        Raises TypeError and ValueError, which name the argument.
        """
        self._use_alarms().set_marks(high, low)

    def add_alarm(
        self,
        callback: Callback,
        *,
        connections: int | None = None,
        delay: float | None = None,
        cooldown: float = 5.0,
    ) -> Alarm:
        """Have ``callback(status)`` called when so many connections are open, or the loop's delay is so many seconds.

        It is called in a turn of its own, after an accept or a measurement, and then not for ``cooldown`` seconds; again
        after that if the threshold is still reached. Return the alarm, whose ``cancel()`` ends it. Raises TypeError and
        ValueError, which name the argument.
        """
        alarm = self._use_alarms().add(callback, connections, delay, cooldown)
        self._apply_limits()
        return alarm

    def _use_alarms(self) -> Alarms:
        if self._alarms is None:
            from .alarms import Alarms

            self._alarms = Alarms(self)
        return self._alarms

    def _sound_alarms(self) -> None:
        # A listener has accepted, and so many are open that an alarm is set for that.
        if self._alarms is not None:
            self._alarms.count_reached(len(self._connections))

    async def drain(self, timeout: float | None = None) -> Drained:
        """End the server gracefully: take those who wait in the kernel's queue, accept no more, wait for the connections.

        A protocol that has a method ``server_draining()`` is told. What is still open after ``timeout`` seconds is aborted;
        None is no limit. Return who was served and who was cut. Called again, also meanwhile, it waits for the same
        end, and the earliest timeout counts. If it is cancelled the server is closed, and its connections live on. Raises
        TypeError and ValueError for a timeout that is none.
        """
        check_timeout(timeout)
        if self._draining is None:
            self._draining = Draining(self)
            self._choose_on_end()
            self._suspended.clear()
            self._draining.begin()
        return await self._draining.wait(timeout)

    def _on_backlog_taken(self, listener: Listener) -> None:
        # It is being drained, and nobody waits any more. At once: those who come before close(2) are reset.
        self._listeners.remove(listener)
        self._stop(listener)
        listener.sock.close()
        if not self._listeners:
            self._close_sockets()
        elif self._sockets is not None:
            self._sockets = [sock for sock in self._sockets if sock is not listener.sock]

    def set_ssl_context(self, context: ssl.SSLContext) -> None:
        """Use another context, with a new certificate say, for the connections that are accepted from now on.

        Raises TypeError for what is no SSLContext, ValueError for one of a client, and for a server without TLS.
        """
        import ssl

        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"set_ssl_context() needs an SSLContext, got {context!r}")
        if self._connect is None:
            raise ValueError(f"server {self!r} has no TLS: it was made without ssl")
        if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise ValueError(f"set_ssl_context() needs the context of a server, got {context!r} (PROTOCOL_TLS_CLIENT)")
        self._ssl_context = context

    def _is_closed(self) -> bool:
        return self._state >= CLOSED
