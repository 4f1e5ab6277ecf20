"""How many reports about one place a watchdog makes: at most five a minute. The others are counted, and the count is told."""

from __future__ import annotations

import math
from collections import deque

MAX_REPORTS = 5
WINDOW = 60.0  # seconds
MAX_PLACES = 1000  # then those without news are forgotten


class Limiter:
    """The times of the last reports about each place, and how many were left out. One thread uses it."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._suppressed: dict[str, int] = {}

    def ask(self, place: str, now: float) -> tuple[bool, int]:
        """Return whether a report about the place may be made, and how many were left out since the last one."""
        if place not in self._times and len(self._times) >= MAX_PLACES:
            self._times = {known: times for known, times in self._times.items() if times[-1] > now - WINDOW}
        times = self._times.setdefault(place, deque(maxlen=MAX_REPORTS))
        if len(times) == MAX_REPORTS and now - times[0] < WINDOW:
            self._suppressed[place] = self._suppressed.get(place, 0) + 1
            return False, 0
        times.append(now)
        return True, self._suppressed.pop(place, 0)

    def next_summary(self) -> float:
        """Return when ``summaries`` has something to tell, infinity for never."""
        return min((self._times[place][-1] + WINDOW for place in self._suppressed), default=math.inf)

    def summaries(self, now: float) -> list[tuple[str, int]]:
        """Return the places of which reports were left out and about which none came for a minute, with their number."""
        due = [place for place in self._suppressed if self._times[place][-1] + WINDOW <= now]
        return [(place, self._suppressed.pop(place)) for place in due]
