"""The timers that wait, for the pure edition; ``timer_heap.pyx`` is the same interface for the compiled one.

A part of the kernel package, though it makes no system call: the compiled heap holds C numbers, which no Python source says.
"""

from __future__ import annotations

import heapq
from typing import Any


class TimerHeap:
    """Timers by the time they are due; those due at the same time in the order in which they were pushed.

    ``first``, ``first_when`` and ``pop`` are for a heap that has something in it.
    """

    def __init__(self) -> None:
        # Numbered, so that equal times keep their order and no timer is ever compared.
        self._entries: list[tuple[float, int, Any]] = []
        self._count = 0
        self.size = 0
        """How many timers there are, cancelled ones included."""

    def push(self, when: float, timer: Any) -> None:
        """Add a timer that is due at ``when``, in seconds of the loop's clock."""
        self._count += 1
        self.size += 1
        heapq.heappush(self._entries, (when, self._count, timer))

    def first(self) -> Any:
        """The timer that is due first."""
        return self._entries[0][2]

    def first_when(self) -> float:
        """When that is."""
        return self._entries[0][0]

    def pop(self) -> Any:
        """Take the timer that is due first."""
        if not self._entries:
            raise IndexError("no timer waits")
        timer = heapq.heappop(self._entries)[2]
        self.size -= 1
        return timer

    def timers(self) -> list[Any]:
        """All timers, in no order."""
        return [entry[2] for entry in self._entries]

    def purge(self) -> list[Any]:
        """Take out the timers that are cancelled (``_cancelled``)."""
        cancelled = [entry[2] for entry in self._entries if entry[2]._cancelled]
        self._entries = [entry for entry in self._entries if not entry[2]._cancelled]
        heapq.heapify(self._entries)
        self.size = len(self._entries)
        return cancelled

    def clear(self) -> None:
        """Drop all timers."""
        entries = self._entries  # their end may run code that looks here, or pushes others
        self._entries = []
        self.size = 0
        del entries
