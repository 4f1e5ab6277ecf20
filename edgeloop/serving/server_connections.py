"""The connections of a server: who is connected, what happens when one ends, what was refused and timed out."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from ..core.schedule import Scheduler
from ..watching.layout import PLACES
from .admission import Admission
from .draining import Draining
from .limits import TIMED_OUT_KINDS, Limits
from .listener import Connect, Listener
from .refusals import Refusals

# The states of a Server; from CLOSED on it never goes back.
IDLE = 0  # the sockets are bound, nothing is accepted: not yet, or because a start failed
SERVING = 1
CLOSED = 2  # the sockets are closed, connections live on
FINISHED = 3  # the last connection has ended too


class ServerConnections:
    """The half of a Server that its transports, listeners and refusals know. For the loop's thread alone."""

    def __init__(self, loop: Scheduler, connect: Connect | None, limits: Limits) -> None:
        self._loop = loop
        self._connect = connect
        self._limits = limits  # by set_limits
        self._listeners: list[Listener] = []
        # The stream transports, each from accept(2) on; the same set for good. The listeners have it too.
        self._connections: set[Any] = set()
        # What the program holds of them: those whose TLS handshake has begun are TLS transports.
        self._clients: set[Any] = self._connections if connect is None else set()
        self._lower: dict[Any, Any] = {}  # with TLS: the stream transport below each of them
        self._on_end: Callable[[Any], None] | None = None  # called with each that has ended: see _choose_on_end
        self._refusals: Refusals | None = None  # from the first limit on that refuses
        self._admission: Admission | None = None  # while there is one
        self._draining: Draining | None = None  # from the first drain on
        self._refused = 0
        self._timed_out = dict.fromkeys(TIMED_OUT_KINDS, 0)
        self._state = IDLE

    def _attach(self, transport: Any = None) -> None:
        self._connections.add(transport)

    def _detach(self, transport: Any = None) -> None:
        self._connections.discard(transport)
        if self._on_end is not None:
            self._on_end(transport)

    def _attach_tls(self, transport: Any, lower: Any) -> None:
        self._lower[transport] = lower
        self._clients.add(transport)

    def _detach_tls(self, transport: Any) -> None:
        self._clients.discard(transport)
        self._lower.pop(transport, None)
        if self._draining is not None:
            self._draining.ended_tls(transport)

    def _on_connected(self, transport: Any) -> None:
        # The handshake of a TLS transport is over, and connection_made was called.
        if self._draining is not None:
            self._draining.connected(transport)

    def _context_of(self, transport: Any) -> contextvars.Context:
        # Return what the protocol of a client is called in.
        return self._lower.get(transport, transport)._context  # type: ignore[no-any-return]

    def _choose_on_end(self) -> None:
        # Most often nobody minds the end of a connection, or only who counts the peers.
        if self._state >= CLOSED or self._draining is not None or self._is_full():
            self._on_end = self._connection_ended
        elif self._admission is not None and self._limits.max_connections_per_peer is not None:
            self._on_end = self._admission.left
        else:
            self._on_end = None

    def _is_full(self) -> bool:
        return any(listener.full for listener in self._listeners)

    def _on_full(self) -> None:
        # A listener waits for the end of a connection.
        self._on_end = self._connection_ended

    def _connection_ended(self, transport: Any) -> None:
        if self._admission is not None:
            self._admission.left(transport)
        if self._is_full():
            for listener in self._listeners:
                listener.go_on()
            self._listeners.append(self._listeners.pop(0))  # another one is first when the next connection ends
            self._choose_on_end()
        if self._draining is not None:
            self._draining.ended(transport)
        self._check_end()

    def _check_end(self) -> None:
        if self._state == CLOSED and not self._connections and not self._refusing():
            self._finish()
        if self._draining is not None:
            self._draining.check()

    def _refusing(self) -> int:
        return 0 if self._refusals is None else len(self._refusals.transports)

    def _admits_client(self, transport: Any, peername: Any) -> bool:
        # A proxy has named its client. Return False if that has too many connections with this one.
        return self._admission is None or self._admission.told(transport, peername)

    def _begins_with_header(self, transport: Any) -> None:
        # Of a proxy. Until the TLS transport attaches itself, it is the one below that ``close_clients`` closes.
        self._clients.add(transport)

    def _ended_header(self, transport: Any) -> None:
        if self._clients is not self._connections:
            self._clients.discard(transport)

    def _count_timeout(self, kind: str) -> None:
        # A deadline ends a connection: "idle", "first_byte", "write", "lifetime".
        self._timed_out[kind] += 1

    def _count_refused(self) -> None:
        self._refused += 1
        self._loop.reactor.figures.add(PLACES["accepts_refused"])

    def close_clients(self) -> None:
        """Close this server's connections (asyncio has this from 3.13 on)."""
        for transport in self._all_clients():
            transport.close()

    def abort_clients(self) -> None:
        """Close this server's connections at once and drop what they have not sent (asyncio has this from 3.13 on)."""
        for transport in self._all_clients():
            transport.abort()

    def _all_clients(self) -> list[Any]:
        # Those that are being refused too. With TLS, the stream transport where the handshake has not begun.
        found = list(self._clients)
        if self._connect is not None:
            found += self._connections.difference(self._lower.values())
        if self._refusals is not None:
            found += self._refusals.transports
        return found

    def _finish(self) -> None:
        """The last connection of a closed server has ended."""
        raise NotImplementedError
