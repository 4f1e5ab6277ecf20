"""The accept-drain loop, and what it does without a free descriptor.

An edge says that connections wait, not how many: accept(2) until EAGAIN, up to a number and a time per turn (rule 6). At a
limit of the server's, and while that is suspended, they wait in the kernel's queue: ``readable`` remembers them (rule 7).
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from .. import stdlib
from ..core.channel import Channel
from ..core.failures import raise_interruption
from ..core.schedule import Scheduler
from ..kernel import calls, interpreter, sockets
from ..kernel.short_reads import short_reads_of_kind
from ..transports.stream import StreamTransport
from ..watching.layout import LISTENER
from .admission import Admission
from .deadlines import Deadlines

ACCEPTS_PER_TURN = 256
# Of a turn: then those who are connected have theirs. What follows an accept in the next turns takes longer than it.
ACCEPT_SECONDS = 50e-6
RETRY_SECONDS = 0.1  # until accept(2) is tried again when closing the spare descriptor did not help
REPORT_SECONDS = 5.0  # at most one report in that time

Connect = Callable[[Any, asyncio.BaseProtocol, contextvars.Context, Any], StreamTransport]


class SpareDescriptor:
    """One descriptor held back: without a free one, a client is accepted and turned away in its place.

    One for each loop, shared by its listeners; the loop's ``close`` gives it up. For the loop's thread alone.
    """

    def __init__(self) -> None:
        self._fd = -1

    def take(self) -> bool:
        """Open it if it isn't open. Return True if it is open now."""
        if self._fd < 0:
            try:
                fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False
            if self._fd < 0:
                self._fd = fd
            else:
                os.close(fd)  # an audit hook of open() has called this method
        return True

    def give_up(self) -> bool:
        """Close it. Return True if that freed a descriptor."""
        if self._fd < 0:
            return False
        fd, self._fd = self._fd, -1
        os.close(fd)  # last: it lets other threads run
        return True


class Listener(Channel):
    """A listening socket in the epoll set: makes a protocol and a transport for each connection.

    ``connect(peername, protocol, context, server)``, if given, makes the transport, without a descriptor: for TLS. The
    Server owns the socket, and the program may close it: accept(2) asks it for its number each time (rule 9). An accepted
    descriptor is the listener's until its transport has it. For the loop's thread alone; ``stop`` ends it.
    """

    def __init__(
        self,
        loop: Scheduler,
        sock: socket.socket,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        server: Any,
        spare_descriptor: SpareDescriptor,
        connect: Connect | None = None,
    ) -> None:
        Channel.__init__(self, sock.fileno())
        self.kind = LISTENER
        self._loop = loop
        self.sock = sock
        self._protocol_factory = protocol_factory
        self._server = server
        self._connections: set[Any] = server._connections
        # The server sets these, by set_limits and suspend.
        self._limit = sys.maxsize  # of open connections: what is to be done there, the next two say
        self._waits = True  # accept no more at the limit
        self._admission: Admission | None = None  # is asked at the limit otherwise
        self._counts_peers = False  # and for each connection
        self._alarm_at = sys.maxsize  # open connections at which the server is told
        self._suspended = False
        self.full = False  # the limit was reached, and the server has not called go_on since
        self._accepts_left = 0  # over 0: the server is told when they are used up, or nobody waits any more
        self.accepted = 0  # by accept(2), and not refused
        self.high_mark = 0  # the most that the server had open after an accept of this listener's
        self._context = interpreter.copy_context()
        self._connect = connect
        self.deadlines: Deadlines | None = None  # set by the server, while there are timeouts or rates
        self._spare_descriptor = spare_descriptor
        self._family = sock.family
        self._short_read = short_reads_of_kind(sock.family, sock.proto)
        self._silent_until = 0.0
        self._retry: asyncio.TimerHandle | None = None
        spare_descriptor.take()
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # tcp(7): an accepted socket inherits it, which saves a system call for each connection.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.reactor.add(self, calls.INTEREST_READ)

    def use_connect(self, connect: Connect | None) -> None:
        """Make the transports of new connections by ``connect``."""
        self._connect = connect

    def stop(self) -> None:
        """Accept no more. The caller closes the socket."""
        self._loop.reactor.remove(self)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    # What the server asks for

    def set_limits(
        self, limit: int | None, waits: bool, admission: Admission | None, counts_peers: bool, alarm_at: int | None
    ) -> None:
        """Set what holds from the next accept(2) on, in open connections; None: no number is enough."""
        self._limit = sys.maxsize if limit is None else limit
        self._alarm_at = sys.maxsize if alarm_at is None else alarm_at
        self._waits = waits
        self._admission = admission
        self._counts_peers = counts_peers
        self.go_on()

    def go_on(self) -> None:
        """There may be room again below the limit."""
        if self.full:
            self.full = False
            self._have_accepted()

    def suspend(self) -> None:
        """Leave those who connect in the kernel's queue, until ``resume``."""
        self._suspended = True

    def resume(self) -> None:
        """Accept again."""
        self._suspended = False
        self._have_accepted()

    def leave(self, accepts: int) -> None:
        """Have ``_on_backlog_taken`` of the server called when nobody waits, or so many (at least 1) are accepted."""
        self._suspended = False
        self._accepts_left = accepts
        self.readable = True  # EAGAIN shall say that nobody waits
        self._have_accepted()

    def _have_accepted(self) -> None:
        if self.readable and self.added:
            self._loop.reactor.defer(self)

    # Accepting

    def on_ready(self) -> None:
        """Accept until no connection waits or the turn's limit is reached."""
        if self.readable and self._retry is None and not self._suspended:
            try:
                self._drain()
            except BaseException as exc:
                self._loop.reactor.defer(self)  # other connections still wait
                self._report(exc, "Fatal error: accept() failed on a listening socket")

    def _drain(self) -> None:
        end = calls.now() + ACCEPT_SECONDS
        for _ in range(ACCEPTS_PER_TURN):
            if len(self._connections) >= self._limit and self._waits:
                self.full = True
                self._server._on_full()  # the end of a connection has this go on
                return
            counts = self._loop.reactor.counts
            counts.accept += 1
            accepts = counts.accepts + 1  # now: where there is no memory for a number, a descriptor would have no owner
            try:
                accepted = sockets.accept(self.sock)
            except OSError as exc:
                self._loop.reactor.counts.accepts_failed += 1
                again = self._exhausted(exc)
                if self._loop.reactor.observer is not None:
                    self._loop.reactor.observer.accept_failed(stdlib.TransportSocket(self.sock), exc)
                if again and self.added:
                    continue
                return
            if accepted is None:
                self.readable = False
                if self._accepts_left:
                    self._server._on_backlog_taken(self)
                return
            counts.accepts = accepts
            asked = self._counts_peers or len(self._connections) >= self._limit
            admission = self._admission if asked else None
            if admission is None or admission.admit(self, accepted[0], accepted[1]):
                self.accepted += 1
                transport = self._on_accepted(accepted[0], accepted[1], self._protocol_factory, self._server)
                if admission is not None and transport is not None:
                    admission.entered(transport)
                if len(self._connections) > self.high_mark:
                    self.high_mark = len(self._connections)
                if len(self._connections) >= self._alarm_at:
                    self._server._sound_alarms()
            if self._accepts_left:
                self._accepts_left -= 1
                if not self._accepts_left:
                    self._server._on_backlog_taken(self)
            if not self.added or self._suspended:
                return  # the protocol factory has closed the server, or suspended it
            if calls.now() > end:
                break
        self._loop.reactor.defer(self)

    def connect_refused(self, fd: int, peername: Any, protocol_factory: Callable[[], Any], server: Any) -> None:
        """Make a transport for a connection that is not the server's: ``server`` counts it."""
        self._on_accepted(fd, peername, protocol_factory, server)

    def _on_accepted(
        self, fd: int, peername: Any, protocol_factory: Callable[[], Any], server: Any
    ) -> StreamTransport | None:
        # Return the transport, or None if something has failed. ``connection_made`` comes in the next turn, as on asyncio,
        # after what the factory has scheduled.
        context = self._context
        transport: StreamTransport | None = None
        try:
            context = context.copy()
            protocol = interpreter.call_none(context, protocol_factory)
            if self._connect is not None:
                transport = self._connect(peername, protocol, context, server)
            else:
                transport = StreamTransport(self._loop, -1, None, protocol, context, peername, server)
            transport.fd = fd
            self._loop.reactor.counts.connections_made += 1
            transport.use_family(self._family, self._short_read)
            if self.deadlines is not None and server is self._server:  # those that are refused have a time of their own
                self.deadlines.watch(transport)
            self._loop.call_soon(transport.begin, context=context)
            return transport
        except BaseException as exc:
            if transport is None or transport.fd != fd:
                if transport is not None:
                    server._detach(transport)
                calls.close(fd)
            else:
                transport._release()  # it could not be scheduled: its protocol knows nothing of it, its server does
            raise_interruption(exc)
            self._loop._report_within(
                context, {"message": "Error on transport creation for incoming connection", "exception": exc}
            )
            return None

    def _exhausted(self, exc: OSError) -> bool:
        # Return True if accept(2) is worth another try in this turn.
        if exc.errno not in sockets.exhausted:
            self._report(exc, "Fatal error: accept() failed on a listening socket")
            self.stop()
            return False
        self._report_seldom(exc)
        if self.deadlines is not None and self.deadlines.make_room():
            self._loop.reactor.defer(self)  # they are closed before this listener has its next turn
            return False
        if self._spare_descriptor.give_up():
            # A client that is turned away can try elsewhere; in the backlog it would hang.
            accepted = None
            try:
                accepted = sockets.accept(self.sock)
                self.readable = accepted is not None
            except OSError:
                pass  # another thread took the descriptor
            if accepted is not None:
                calls.close(accepted[0])
                self._server._count_refused()
            if self._spare_descriptor.take():
                return self.readable
        # There was no spare descriptor, or another thread took it. No edge comes when one is free again.
        self._retry = self._loop.call_later(RETRY_SECONDS, self._try_again)
        return False

    def _try_again(self) -> None:
        self._retry = None
        self._spare_descriptor.take()
        if self.added:
            self._loop.reactor.defer(self)

    def _report_seldom(self, exc: OSError) -> None:
        now = self._loop.time()
        if now >= self._silent_until:
            self._silent_until = now + REPORT_SECONDS
            self._report(exc, "socket.accept() out of system resource")

    def _report(self, exc: BaseException, message: str) -> None:
        raise_interruption(exc)
        listening = stdlib.TransportSocket(self.sock)
        self._loop._report_within(self._context, {"message": message, "exception": exc, "socket": listening})
