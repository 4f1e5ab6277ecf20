"""How fast a connection may be: a token bucket for what it reads, one for what it writes.

A byte takes a token. A bucket holds one second's worth of them, at least one, and is full when the connection begins: what
a second may carry may come at once. Without a token the connection is held, and its server's wheel lets it go on.
"""

from __future__ import annotations

from typing import Any

from ..core.schedule import Scheduler
from ..core.wheel import NEVER, Member, Ring, Wheel

# How often those who are held are looked at. So a connection leaves or takes its bytes in about as many pieces a second.
HELD_SECONDS = 1 / 16
MAX_BYTES = 1 << 30  # of one call


class RateLimits:
    """The two rates that the connections of one server have in common, in bytes a second; NEVER is none.

    ``held`` are the connections that wait for tokens. For the loop's thread alone.
    """

    def __init__(self, loop: Scheduler, wheel: Wheel) -> None:
        self._loop = loop
        self.read = NEVER
        self.write = NEVER
        self.held = Ring(wheel, HELD_SECONDS)

    def now(self) -> float:
        """Return the loop's time."""
        return self._loop._now()


class Bucket:
    """The tokens of one direction. One Rates owns it."""

    def __init__(self) -> None:
        self._tokens = -1.0  # below 0: it was never asked, and is full
        self._filled_at = 0.0

    def fill(self, rate: float, now: float) -> int:
        """Return how many tokens there are, at most MAX_BYTES, at ``rate`` a second."""
        if rate == NEVER:
            self._tokens = -1.0
            return MAX_BYTES
        most = max(rate, 1.0)
        if self._tokens < 0:
            self._tokens = most
        elif now > self._filled_at:  # a clock that was set back gives nothing
            self._tokens = min(self._tokens + (now - self._filled_at) * rate, most)
        else:
            self._tokens = min(self._tokens, most)
        self._filled_at = now
        return int(min(self._tokens, MAX_BYTES))

    def take(self, count: int) -> None:
        """Take ``count`` tokens, which ``fill`` has said are there."""
        if self._tokens >= 0:
            self._tokens = max(self._tokens - count, 0.0)


class Rates(Member):
    """The two buckets of one connection, and whether it is held.

    The StreamTransport, which owns it, asks before each read and each write, and says how many bytes it was. It drops it
    when it is closed (``leave``). Held in one direction it goes on in the other.
    """

    def __init__(self, limits: RateLimits, transport: Any) -> None:
        Member.__init__(self)
        self._limits = limits
        self._transport = transport
        self._reading = Bucket()
        self._writing = Bucket()
        self.allowed = 0  # by may_read
        self.read_held = False
        self.write_held = False

    def limits_writing(self) -> bool:
        """Return True if there is a rate for what is written."""
        return self._limits.write < NEVER

    def may_read(self) -> bool:
        """Return True if something may be read now, ``allowed`` bytes of it. Else ``go_on`` is called when it may."""
        if self._limits.read == NEVER:
            self.allowed = MAX_BYTES
        elif self.read_held:
            self.allowed = 0
        else:
            self.allowed = self._reading.fill(self._limits.read, self._limits.now())
            if not self.allowed:
                self._limits.held.add(self)  # first: without memory for it nobody would let the connection go on
                self.read_held = True
        return self.allowed > 0

    def may_write(self, size: int) -> int:
        """Return how many of ``size`` bytes may be sent now. 0: none, and ``go_on`` is called when some may."""
        if self._limits.write == NEVER:
            return size
        if self.write_held:
            return 0
        count = self._writing.fill(self._limits.write, self._limits.now())
        if not count:
            self._limits.held.add(self)
            self.write_held = True
        return min(count, size)

    def has_read(self, count: int) -> None:
        """So many bytes were read."""
        self._reading.take(count)

    def has_written(self, count: int) -> None:
        """So many bytes have left."""
        self._writing.take(count)

    def look(self, now: float) -> None:
        """Let the connection go on if there are tokens again."""
        going_on = False
        if self.read_held and self._reading.fill(self._limits.read, now):
            self.read_held = False
            going_on = True
        if self.write_held and self._writing.fill(self._limits.write, now):
            self.write_held = False
            going_on = True
        if not self.read_held and not self.write_held:
            self.leave()
        if going_on:
            self._transport.go_on()


def first_bytes(chunks: list[Any], count: int, most: int) -> list[Any]:
    """Return the first ``count`` bytes of the chunks, in ``most`` pieces or fewer."""
    found: list[Any] = []
    for chunk in chunks:
        if not count or len(found) == most:
            break
        size = len(chunk)
        found.append(chunk if size <= count else memoryview(chunk)[:count])
        count -= min(size, count)
    return found
