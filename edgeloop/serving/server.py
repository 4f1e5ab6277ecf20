"""``Server``: the listening sockets of one create_server call and their connections."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any, Unpack

from .. import stdlib
from ..core.schedule import Scheduler
from .limits import NO_LIMITS, Limits, ServerLimits
from .listener import Connect, Listener, SpareDescriptor

# From 3.12.1 on wait_closed waits for the connections too; before, it returned at once for a closed server.
_WAITS_FOR_CONNECTIONS = sys.version_info >= (3, 12, 1)
# From 3.14 on a serve_forever that is cancelled closes the connections too, or it would wait for them.
_CLOSES_CLIENTS = sys.version_info >= (3, 14)


# The states of a Server; from CLOSED on it never goes back.
IDLE = 0  # the sockets are bound, nothing is accepted: not yet, or because a start failed
SERVING = 1
CLOSED = 2  # the sockets are closed, connections live on
FINISHED = 3  # the last connection has ended too


class Server(asyncio.AbstractServer):
    """What ``create_server`` returns. asyncio doc: Server Objects.

    Owns the listening sockets until ``close``, and no connection: a transport attaches itself, and detaches when its
    connection is over. For the loop's thread alone.
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
    ) -> None:
        self._loop = loop
        self._sockets: list[socket.socket] | None = sockets
        self._protocol_factory = protocol_factory
        self._backlog = backlog
        self._spare_descriptor = spare_descriptor
        self._connect = connect
        self._unlink = unlink
        self._ssl_context = ssl_context  # asyncio's name: websockets looks here for the scheme it serves
        self._limits = limits  # by set_limits
        self._listeners: list[Listener] = []
        self._clients: set[Any] = set()
        self._waiters: list[asyncio.Future[None]] | None = []  # None once FINISHED, as asyncio's
        self._state = IDLE
        self._serving_forever: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    # Connections come and go

    def _attach(self, transport: Any = None) -> None:
        self._clients.add(transport)

    def _detach(self, transport: Any = None) -> None:
        self._clients.discard(transport)
        if not self._clients and self._state >= CLOSED:
            self._finish()

    def _finish(self) -> None:
        assert self._state >= CLOSED
        self._state = FINISHED
        waiters, self._waiters = self._waiters or [], None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # asyncio.Server

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the server's loop."""
        return self._loop  # type: ignore[return-value]

    def set_limits(self, **limits: Unpack[ServerLimits]) -> None:
        """Change the limits while the server runs; a name that isn't given stays as it is. docs/serving.md.

        The arguments are those of ``create_server``. Raises TypeError and ValueError, which name the argument.
        """
        self._limits = self._limits.changed(limits, "set_limits")

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
                    Listener(self._loop, sock, self._protocol_factory, self, self._spare_descriptor, self._connect)
                )
        except BaseException:
            self._stop_listening()  # all or none, and it can be tried again
            raise

    def _stop_listening(self) -> None:
        listeners, self._listeners = self._listeners, []
        if self._state == SERVING:
            self._state = IDLE
        for listener in listeners:
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
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        assert self._state < CLOSED
        self._state = CLOSED
        self._stop_listening()
        if self._unlink is not None:
            self._unlink()
        for sock in sockets:
            sock.close()
        if self._serving_forever is not None and not self._serving_forever.done():
            self._serving_forever.cancel()
            self._serving_forever = None
        if not self._clients:
            self._finish()

    def close_clients(self) -> None:
        """Close this server's connections (asyncio has this from 3.13 on)."""
        for transport in tuple(self._clients):
            transport.close()

    def abort_clients(self) -> None:
        """Close this server's connections at once and drop what they have not sent (asyncio has this from 3.13 on)."""
        for transport in tuple(self._clients):
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and, from Python 3.12.1 on, its last connection too."""
        if self._state == FINISHED or (self._state == CLOSED and not _WAITS_FOR_CONNECTIONS):
            return
        assert self._waiters is not None
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
