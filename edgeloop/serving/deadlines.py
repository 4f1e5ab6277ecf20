"""``Deadlines``: what a server's connections may take of time, and how fast they may be.

A connection is looked at eight times in its shortest timeout, by the wheel. A look compares what the transport has counted
with what it had at the last one: that costs a read or a write one addition. What has moved since counts as moved now. So no
timeout is early, and none later than a quarter of itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from .. import stdlib
from ..core.schedule import Scheduler
from ..core.wheel import NEVER, Member, Ring, Wheel
from ..kernel import epoll
from ..transports import base
from ..transports.rates import RateLimits, Rates
from ..transports.stream import StreamTransport
from .limits import Limits

LOOKS = 8  # in a timeout
MIN_PERIOD = 0.005  # seconds between two looks, however short the timeout
# Connections that are ended in one turn: what follows in the next, connection_lost and close(2), takes longer than a look.
ENDINGS_PER_TURN = 16
# When no descriptor is left: so many are ended at once, of those that were idle for this part of idle_timeout.
SACRIFICES = 32
IDLE_ENOUGH = 0.25

WORDS = {
    "idle": "idle_timeout: nothing was received or sent for {:g} seconds",
    "first_byte": "first_byte_timeout: nothing was received in the first {:g} seconds",
    "write": "write_timeout: the peer took nothing of what was written for {:g} seconds",
    "lifetime": "max_lifetime: the connection was open for {:g} seconds",
    "shortage": "no descriptor is left, and nothing was received or sent for {:g} seconds",
}


def concern(limits: Limits) -> bool:
    """Return True if these limits have a timeout or a rate."""
    return _have_timeouts(limits) or limits.read_rate is not None or limits.write_rate is not None


def _have_timeouts(limits: Limits) -> bool:
    return (
        limits.idle_timeout is not None
        or limits.first_byte_timeout is not None
        or limits.write_timeout is not None
        or limits.max_lifetime is not None
    )


def _or_never(value: float | None) -> float:
    return NEVER if value is None else float(value)


def _period(timeout: float) -> float:
    return max(timeout / LOOKS, MIN_PERIOD)


class Watched(Member):
    """One connection, as it was when it was looked at last.

    Its transport owns it, and has it leave its ring when the descriptor is closed; until then the ring keeps both alive. A
    clock that stands still is at NEVER: the peer has nothing to do for it.
    """

    def __init__(self, deadlines: Deadlines, transport: StreamTransport, now: float) -> None:
        Member.__init__(self)
        self._deadlines = deadlines
        self._transport = transport
        self._looked_at = now
        self._received = transport.bytes_received
        self._sent = transport.bytes_sent
        self._resumes = transport.resumes
        self._opened_at = now
        self.quiet_since = now  # no byte has come or gone since, while it was the peer's turn
        self._silent_since = now  # nothing has come since, of the first byte
        self._stuck_since = NEVER  # something waits to be sent since, and nothing of it has left
        self.silent = True  # the first byte hasn't come
        self._found_in = 0  # the iteration in which it was found to have come to a deadline

    def look(self, now: float) -> None:
        """End the connection if it has come to a deadline, and the events of one more iteration have changed nothing."""
        transport = self._transport
        if transport._state >= base.LOST:
            return
        deadlines = self._deadlines
        ending = self.ring is deadlines.ending
        reactor = deadlines.reactor
        if ending:
            # The process may have been stopped, or a callback slow: what has arrived meanwhile is read first.
            if self._found_in == reactor.iteration or reactor.num_events == epoll.MAX_EVENTS:
                return
            transport.push()
            if transport._state >= base.LOST:
                return
        self.sample(now)
        kind = self._deadline(now)
        if transport._state >= base.LOST:
            return  # a protocol that is asked whether it has heard something may do anything
        if kind is None:
            deadlines.place(self)
        elif ending:
            deadlines.end(transport, kind)
        else:
            self._found_in = reactor.iteration
            deadlines.ending.add(self)

    def sample(self, now: float) -> None:
        """Note what has happened since the last look."""
        if now < self._looked_at:
            self._set_back(now)
        self._looked_at = now
        transport = self._transport
        rates = transport._rates
        sent = transport.bytes_sent != self._sent
        resumed = transport.resumes != self._resumes
        moved = sent or resumed or transport.bytes_received != self._received
        self._sent = transport.bytes_sent
        self._resumes = transport.resumes
        self._received = transport.bytes_received
        # Whose turn is it? The peer's to take what waits for it, unless the server's rate holds that back; and to send
        # something, if it is being read: not while the program has paused reading, or after the peer's end.
        unsent = transport._write_buffer_size > 0 or transport._sender is not None
        if unsent and rates is not None and rates.write_held:
            unsent = False
        reading = (
            transport._state == base.OPEN
            and not transport._paused
            and not transport._eof_received
            and (rates is None or not rates.read_held)
        )
        if not unsent and not reading:
            self.quiet_since = NEVER
        elif moved or self.quiet_since == NEVER or (reading and transport.readable):
            self.quiet_since = now
        if not unsent:
            self._stuck_since = NEVER
        elif sent or self._stuck_since == NEVER:
            self._stuck_since = now
        if self.silent:
            if self._has_heard():
                self.silent = False
                self._silent_since = NEVER
            elif not reading:
                self._silent_since = NEVER
            elif resumed or self._silent_since == NEVER or transport.readable:
                self._silent_since = now

    def _has_heard(self) -> bool:
        # Return True if the first byte has come. A protocol that stands before the program's (TLS) knows it better.
        transport = self._transport
        heard = getattr(transport._protocol, "_application_heard", None)
        return transport.bytes_received > transport.bytes_before if heard is None else bool(heard)

    def _set_back(self, now: float) -> None:
        # The loop's clock was set back: what was is as long ago as nothing.
        self._opened_at = min(self._opened_at, now)
        if self.quiet_since != NEVER:
            self.quiet_since = now
        if self._silent_since != NEVER:
            self._silent_since = now
        if self._stuck_since != NEVER:
            self._stuck_since = now

    def _deadline(self, now: float) -> str | None:
        # Return the kind of deadline that it has come to.
        deadlines = self._deadlines
        if now - self._opened_at >= deadlines.lifetime:
            return "lifetime"
        if now - self._stuck_since >= deadlines.write:
            return "write"
        if now - self._silent_since >= deadlines.first_byte:
            return "first_byte"
        if now - self.quiet_since >= deadlines.idle:
            return "idle"
        return None

    def is_ending(self) -> bool:
        """Return True if its transport's end is scheduled."""
        return self._transport._state >= base.LOST

    def sacrifice(self) -> None:
        """End it, for its descriptor."""
        self._deadlines.end(self._transport, "shortage")


class Deadlines:
    """The timeouts and rates of one server.

    The listeners have it watch what they accept. It ends connections by themselves, with TimeoutError, and the Server counts
    them. For the loop's thread alone.
    """

    def __init__(self, loop: Scheduler, wheel: Wheel, server: Any) -> None:
        self._loop = loop
        self.reactor = loop.reactor
        self._server = server
        self._wheel = wheel
        self.idle = NEVER
        self.first_byte = NEVER
        self.write = NEVER
        self.lifetime = NEVER
        self._limits_time = False  # one of them isn't NEVER
        self._limits_rate = False
        self._rates = RateLimits(loop, wheel)
        self._silent = Ring(wheel, NEVER)  # those whose first byte has not come: looked at for all four
        self._heard = Ring(wheel, NEVER)  # the others
        self.ending = Ring(wheel, 0.0, ENDINGS_PER_TURN)  # have come to a deadline, and are looked at once more
        self._no_room_until = 0.0

    def set_limits(self, limits: Limits, connections: Iterable[StreamTransport]) -> None:
        """Use these limits from now on, for the open ``connections`` too.

        For a connection that was not watched before, a timeout begins now.
        """
        self.idle = _or_never(limits.idle_timeout)
        self.first_byte = _or_never(limits.first_byte_timeout)
        self.write = _or_never(limits.write_timeout)
        self.lifetime = _or_never(limits.max_lifetime)
        self._limits_time = _have_timeouts(limits)
        self._rates.read = _or_never(limits.read_rate)
        self._rates.write = _or_never(limits.write_rate)
        self._limits_rate = self._rates.read < NEVER or self._rates.write < NEVER
        self._no_room_until = 0.0
        shortest = min(self.idle, self.write, self.lifetime)
        self._heard.set_period(_period(shortest))
        self._silent.set_period(_period(min(shortest, self.first_byte)))
        if self._limits_time or self._limits_rate:
            for transport in tuple(connections):
                self.watch(transport)

    def watch(self, transport: StreamTransport) -> None:
        """Keep a connection to the limits, from now on. Does nothing if it is watched already, or has ended."""
        if transport._state >= base.LOST:
            return
        if self._limits_rate and transport._rates is None:
            transport.use_rates(Rates(self._rates, transport))
        if self._limits_time and transport._watched is None:
            watched = Watched(self, transport, self._loop._now())
            transport.be_watched(watched)
            self._silent.add(watched)

    def place(self, watched: Watched) -> None:
        """Put a connection where it is looked at as often as it has to be."""
        if watched.silent:
            self._silent.add(watched)
        else:
            self._heard.add(watched)

    def end(self, transport: StreamTransport, kind: str) -> None:
        """Abort a connection, with the TimeoutError that tells why."""
        seconds = {"first_byte": self.first_byte, "write": self.write, "lifetime": self.lifetime}.get(kind, self.idle)
        if kind == "shortage":
            seconds *= IDLE_ENOUGH
        exc = TimeoutError(WORDS[kind].format(seconds))
        if self._loop._debug:
            stdlib.logger().debug("%r: %s", transport, exc)
        transport._force_close(exc)
        self._server._count_timeout("idle" if kind == "shortage" else kind)

    def make_room(self) -> bool:
        """End those that were idle longest, for their descriptors. Return True if some come free in the next turn."""
        if self.idle == NEVER:
            return False
        now = self._loop._now()
        if now < self._no_room_until:
            return False
        found: list[tuple[float, int, Watched]] = []
        for ring in (self._silent, self._heard, self.ending):
            for member in tuple(ring.members):
                watched: Any = member
                if watched.is_ending():
                    return True  # of the last ones
                watched.sample(now)
                if now - watched.quiet_since >= self.idle * IDLE_ENOUGH:
                    found.append((watched.quiet_since, len(found), watched))
        for _, _, watched in heapq.nsmallest(SACRIFICES, found):
            watched.sacrifice()
        if not found:
            self._no_room_until = now + _period(self.idle)  # to look at all takes long
        return bool(found)
