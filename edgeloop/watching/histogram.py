"""``Histogram``: how often values were how large, on a logarithmic scale. Any number of them add up to one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from . import layout


@dataclasses.dataclass(frozen=True, slots=True)
class Histogram:
    """Times in seconds, by buckets that are an eighth of a power of two wide. ``+`` merges two, ``-`` takes one's part out."""

    buckets: tuple[int, ...] = (0,) * layout.BUCKETS
    """How many values there were in each: layout.py says which."""
    sum: float = 0.0
    """Of all values, in seconds."""
    max: float = 0.0
    """The largest, in seconds. After ``-``: of the highest bucket that is not empty, at most the largest of the later one."""

    @classmethod
    def of(cls, buckets: Sequence[int], total: int, largest: int) -> Histogram:
        """Return what a loop has recorded; the sum and the largest value are in nanoseconds."""
        return cls(tuple(buckets), total * 1e-9, largest * 1e-9)

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.buckets)

    @property
    def mean(self) -> float:
        """The mean, in seconds; 0.0 without values."""
        count = self.count
        return self.sum / count if count else 0.0

    @property
    def min(self) -> float:
        """The lower bound of the least value, in seconds; 0.0 without values."""
        for index, number in enumerate(self.buckets):
            if number:
                return layout.lower_bound(index) * 1e-9
        return 0.0

    def percentile(self, percent: float) -> float:
        """Return a time, in seconds, that ``percent`` of the values do not exceed. It is at most an eighth too high.

        0.0 without values. Raises ValueError unless 0 <= percent <= 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is from 0 to 100, not {percent!r}")
        rank = max(math.ceil(self.count * percent / 100), 1)
        for index, number in enumerate(self.buckets):
            rank -= number
            if rank <= 0 and number:
                return min(layout.upper_bound(index) * 1e-9, self.max)
        return 0.0

    def below(self, seconds: float) -> int:
        """Return how many values were below a time, as far as the buckets say: those of its own bucket count as above."""
        last = layout.bucket(int(seconds * 1e9))
        return sum(self.buckets[:last])

    def filled(self) -> Iterator[tuple[float, float, int]]:
        """Yield the bounds, in seconds, and the number of values of each bucket that has some."""
        for index, number in enumerate(self.buckets):
            if number:
                yield layout.lower_bound(index) * 1e-9, layout.upper_bound(index) * 1e-9, number

    def __repr__(self) -> str:
        half, most = self.percentile(50), self.percentile(99)
        return f"<Histogram count={self.count} p50={half:.6f} p99={most:.6f} max={self.max:.6f} s>"

    def __add__(self, other: Histogram) -> Histogram:
        if not isinstance(other, Histogram):
            return NotImplemented
        pairs = zip(self.buckets, other.buckets, strict=True)
        return Histogram(tuple(a + b for a, b in pairs), self.sum + other.sum, max(self.max, other.max))

    def __sub__(self, earlier: Histogram) -> Histogram:
        if not isinstance(earlier, Histogram):
            return NotImplemented
        buckets = tuple(a - b for a, b in zip(self.buckets, earlier.buckets, strict=True))
        if self.max > earlier.max:
            largest = self.max
        else:
            highest = max((index for index, number in enumerate(buckets) if number), default=-1)
            largest = 0.0 if highest < 0 else min(layout.upper_bound(highest) * 1e-9, self.max)
        return Histogram(buckets, self.sum - earlier.sum, largest)
