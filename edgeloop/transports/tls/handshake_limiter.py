"""How much of a turn a server's handshakes have, when clients come all at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ...kernel import calls

# Flights of clients in one turn, until so many are handled or the time is over. Most take longer than that: then it is one
# in a turn, and the others on the loop have theirs before the next.
MAX_FLIGHTS = 16
FLIGHT_SECONDS = 100e-6


class HandshakeLimiter:
    """Admits what the clients of one server send in their handshakes, a bounded part of it in each turn.

    A handshake that has begun holds 25 KB of OpenSSL's until it is over. So the next flights of those come before the
    first flights of others, and among each in the order in which they came. Only the loop's thread may call. What waits is
    kept alive until its turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._flights = 0  # in this turn
        self._first_at = 0.0  # when the first of them was admitted
        self._begun: deque[Callable[[], object]] = deque()
        self._new: deque[Callable[[], object]] = deque()
        self._scheduled = False

    def admit(self, go_on: Callable[[], object], has_begun: bool) -> bool:
        """Return True if a flight may be handled now. Else ``go_on`` is called in a later turn."""
        self._schedule()
        if not self._begun and (has_begun or not self._new) and self._has_time():
            return True
        (self._begun if has_begun else self._new).append(go_on)
        return False

    def _has_time(self) -> bool:
        now = calls.now()
        if not self._flights:
            self._first_at = now
        elif self._flights >= MAX_FLIGHTS or now - self._first_at > FLIGHT_SECONDS:
            return False
        self._flights += 1
        return True

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(0, self._next_turn)  # timers run after the events of their turn: others go first

    def _next_turn(self) -> None:
        self._scheduled = False
        self._flights = 0
        while (self._begun or self._new) and self._has_time():
            self._schedule()
            (self._begun or self._new).popleft()()
