"""The cheapest clock for intervals, in ticks. ``ticks.pyx`` is the compiled edition.

``by_counter`` is what ``may_use_counter`` has returned; a caller passes the same value each time. Any thread may call, and
nothing is raised.
"""

from __future__ import annotations

import time

# The function itself, whose argument is the clock: a call of a function of ours takes longer than it. freezegun, which
# replaces the other clocks in every module, leaves it alone.
ticks = time.clock_gettime_ns
read = ticks


def may_use_counter() -> int:
    """Return ``by_counter``: 0 if a tick is to be a nanosecond of CLOCK_MONOTONIC. Here that is the clock's own number."""
    return time.CLOCK_MONOTONIC


def scale(by_counter: int) -> tuple[int, int, float]:
    """Return a moment in ticks, the same in nanoseconds of CLOCK_MONOTONIC, and the nanoseconds of a tick."""
    now = read(by_counter)
    return now, now, 1.0
