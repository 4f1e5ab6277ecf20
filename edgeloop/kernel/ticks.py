"""The cheapest clock for intervals, in ticks. ``ticks.pyx`` is the compiled edition.

``by_counter`` is False, or what ``may_use_counter`` has returned; a caller passes the same value each time. Without it a tick
is a nanosecond of CLOCK_MONOTONIC. Any thread may call, and nothing is raised.
"""

from __future__ import annotations

import functools
import time

# Not time.monotonic_ns itself: freezegun replaces that in every module.
_clock = functools.partial(time.monotonic_ns)


def ticks(by_counter: int) -> int:
    """``read``, as the compiled modules call it: inline."""
    return _clock()


def may_use_counter() -> bool:
    """Return True if ``by_counter`` may be True."""
    return False


def read(by_counter: bool) -> int:
    """Return the time in ticks."""
    return _clock()


def scale(by_counter: bool) -> tuple[int, int, float]:
    """Return a moment in ticks, the same in nanoseconds of CLOCK_MONOTONIC, and the nanoseconds of a tick."""
    now = _clock()
    return now, now, 1.0
