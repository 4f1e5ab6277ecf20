"""The pending timers, in a heap. ``timer_heap.pyx`` is the compiled edition: it holds C numbers, which no Python source can.

One thread uses a heap at a time: the one that runs the loop. ``first``, ``first_when`` and ``pop`` raise IndexError on an
empty heap. No timer is compared or called; ``purge`` reads ``_cancelled``. Dropping timers may run any code: ``clear`` empties
the heap first.
"""

from __future__ import annotations

import heapq
from typing import Any


class TimerHeap:
    """Timers by the time at which they are due, and by the order of ``push`` if that is the same."""

    def __init__(self) -> None:
        # The number keeps the order of equal times, and keeps timers from being compared.
        self._entries: list[tuple[float, int, Any]] = []
        self._count = 0  # the number of the last push
        self.size = 0
        """The number of timers, cancelled ones included. Only methods of the heap change it."""

    def push(self, when: float, timer: Any) -> None:
        """Add a timer that is due at ``when``, in seconds of the loop's clock."""
        count, size = self._count + 1, self.size + 1  # first: there may be no memory for large numbers
        heapq.heappush(self._entries, (when, count, timer))
        self._count = count
        self.size = size

    def first(self) -> Any:
        """Return the timer that is due first."""
        return self._entries[0][2]

    def first_when(self) -> float:
        """Return the time at which the first timer is due."""
        return self._entries[0][0]

    def pop(self) -> Any:
        """Remove the timer that is due first, and return it."""
        if not self._entries:
            raise IndexError("no timer waits")
        size = self.size - 1  # first, as in ``push``
        timer = heapq.heappop(self._entries)[2]
        self.size = size
        return timer

    def pop_into(self, items: list[Any]) -> Any:
        """``pop``, and append the timer to a list. If there is no memory for that, it stays in the heap."""
        if not self._entries:
            raise IndexError("no timer waits")
        size = self.size - 1
        items.append(self._entries[0][2])
        popped = False
        try:
            timer = heapq.heappop(self._entries)[2]  # to make a list shorter may take memory
            popped = True
        finally:
            if not popped:
                del items[-1]
        self.size = size
        return timer

    def timers(self) -> list[Any]:
        """Return a new list of all timers, in no order."""
        return [entry[2] for entry in self._entries]

    def purge(self) -> list[Any]:
        """Remove the timers that are cancelled (``_cancelled``), and return them."""
        cancelled = [entry[2] for entry in self._entries if entry[2]._cancelled]
        entries = [entry for entry in self._entries if not entry[2]._cancelled]
        heapq.heapify(entries)
        size = len(entries)
        self._entries = entries
        self.size = size
        return cancelled

    def clear(self) -> None:
        """Drop all timers."""
        entries = self._entries  # destructors may use the heap
        self._entries = []
        self.size = 0
        del entries
