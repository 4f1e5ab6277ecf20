"""``Wheel``: looks at many objects at intervals, by one timer of the loop.

A timer for each connection would be cancelled and made again for each read, which costs more than the read does. So who
wants to know whether something has happened puts a ``Member`` into a ``Ring``, and is asked to look in the ring's interval.
What a round has to do is spread over turns (rule 3): a ring looks for a part of each turn, and goes on in the next.
"""

from __future__ import annotations

import contextvars
import math
from typing import Any

from ..kernel import calls
from .schedule import Scheduler

NEVER = math.inf
# What one ring may take of a turn, and how many members are looked at between two readings of the clock.
ROUND_SECONDS = 50e-6
LOOKS_BETWEEN = 32
NO_LIMIT = 1 << 30


class Member:
    """Something that is looked at. The subclass says what ``look`` does; only rings change the attributes."""

    def __init__(self) -> None:
        self.ring: Ring | None = None
        self.place = 0  # in the ring's list

    def look(self, now: float) -> None:
        """See what has happened since the last look. ``now`` is the loop's time, read after this turn's events."""

    def leave(self) -> None:
        """Leave the ring, if there is one. Its members are not kept alive by anything else of this module."""
        if self.ring is not None:
            self.ring.remove(self)


class Ring:
    """Members that are looked at in one interval, ``period`` seconds: NEVER for not at all, 0 for each turn.

    At most ``share`` of them in a turn. Owns nothing; whoever made it keeps it. It is in its wheel while it has members,
    and there keeps them alive. For the loop's thread alone.
    """

    def __init__(self, wheel: Wheel, period: float, share: int = NO_LIMIT) -> None:
        self._wheel = wheel
        self._period = period
        self._share = share
        self.members: list[Member] = []
        self.next_at = 0.0  # by the loop's time, when the next round begins, or the one under way goes on
        self.left = 0  # of the round under way: the members before this place are still to be looked at
        self.turning = False  # it is in the wheel's list

    def add(self, member: Member) -> None:
        """Take a member, from another ring if it is in one."""
        if member.ring is self:
            return
        if member.ring is not None:
            member.ring.remove(member)
        member.place = len(self.members)
        self.members.append(member)
        member.ring = self
        if not self.turning or not self._wheel.is_set():
            self._wheel.start(self)

    def remove(self, member: Member) -> None:
        """Let a member go. It must be in this ring."""
        # The last one takes its place. A round goes from the last to the first, so that one was looked at, or will be.
        last = self.members.pop()
        if last is not member:
            self.members[member.place] = last
            last.place = member.place
        member.ring = None

    def set_period(self, period: float) -> None:
        """Change the interval: what waits is looked at by the new one."""
        if period != self._period:
            self._period = period
            if self.turning:  # without members too: those who come find the next round set
                self._wheel.start(self)

    def expect(self, now: float) -> None:
        """Begin the next round an interval from now, unless one is under way."""
        if not self.left:
            self.next_at = now + self._period

    def go_round(self, now: float) -> None:
        """Look at as many as one turn has time for."""
        if self.left == 0:
            self.left = len(self.members)
        end = calls.now() + ROUND_SECONDS
        looks = 0
        while self.left > 0 and looks < self._share:
            self.left -= 1  # before the look: if it raises, the round goes on behind it
            if self.left < len(self.members):
                member = self.members[self.left]
                member.look(now)
            looks += 1
            if looks % LOOKS_BETWEEN == 0 and calls.now() > end:
                break
        self.next_at = now if self.left > 0 else now + self._period


class Wheel:
    """The rings of one loop, and the one timer. For the loop's thread alone.

    While no ring has a member there is no timer; the last one may still fire, once, for nothing.
    """

    def __init__(self, loop: Scheduler) -> None:
        self._loop = loop
        self._rings: list[Ring] = []  # those with members, and those that were left by all since the last tick
        self._timer: Any = None
        self._timer_at = 0.0
        self._context = contextvars.Context()  # of nobody: what is looked at belongs to many

    def is_set(self) -> bool:
        """Return True if the timer is set: it may be lost when an overridden clock raises."""
        return self._timer is not None

    def start(self, ring: Ring) -> None:
        """Have the ring's next round begin an interval from now. Does nothing on a closed loop."""
        if self._loop._closed:
            return
        ring.expect(self._loop._now())
        if not ring.turning:
            self._rings.append(ring)
            ring.turning = True
        self._set_timer(ring.next_at)

    def _set_timer(self, when: float) -> None:
        if not when < NEVER:
            return
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
            self._timer = None
        self._timer = self._loop.call_at(when, self._tick, context=self._context)
        self._timer_at = when

    def _tick(self) -> None:
        self._timer = None
        try:
            now = self._loop._now()
            for ring in list(self._rings):
                if not ring.next_at > now:
                    ring.go_round(now)
        finally:  # KeyboardInterrupt, an overridden clock that raises
            self._go_on()

    def _go_on(self) -> None:
        # Take out the rings that all have left, and set the timer for the others.
        when = NEVER
        rings = self._rings  # ``start`` appends to it at any time
        place = len(rings)
        while place > 0:
            place -= 1
            ring = rings[place]
            if ring.members:
                when = min(when, ring.next_at)
            else:
                ring.turning = False
                ring.left = 0
                del rings[place]
        if not self._loop._closed:
            self._loop.reactor.request_poll()  # what goes on in the next turn wants to see that turn's events
            self._set_timer(when)

    def close(self) -> None:
        """Let all go: the loop closes."""
        rings, self._rings = self._rings, []
        timer, self._timer = self._timer, None
        for ring in rings:
            ring.turning = False
        del timer
