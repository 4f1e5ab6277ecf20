"""The figures of a loop: what it counts while it works. ``figures.pyx`` is the compiled edition.

``Figures.counts`` has the numbers of layout.py by name. The loop's thread adds to them. Any thread may read them, also while
the loop is blocked, and may call ``raw``, ``share``, ``make_private``, ``measure`` and ``set_scale``: under the GIL no
addition is half done.

- ``share`` keeps the numbers in a file from then on, where other processes read them even while this one hangs. In the
  compiled edition that costs nothing; the pure one has another ``counts`` then, which takes longer to count.
- Lengths and delays are recorded while somebody ``measure``s, because that takes a clock reading for each callback.
- ``longest`` is (seconds, name) of the longest callback that was measured, or None.
"""

from __future__ import annotations

import itertools
import mmap
import struct
import sys
from typing import Any

from ..kernel import ticks as clock
from . import layout
from .naming import describe

NEVER = 2**63 - 1

# Before Python 3.13 a mapping keeps a duplicate of the descriptor.
_WITHOUT_DESCRIPTOR: Any = {"trackfd": False} if sys.version_info >= (3, 13) else {}

_numbers = itertools.count(1)


class Histogram:
    """A sum, the largest value, both in ticks, and how many there were in each bucket of layout.py."""

    __slots__ = ("buckets", "max", "sum")

    def __init__(self) -> None:
        self.sum = 0
        self.max = 0
        self.buckets = [0] * layout.BUCKETS


class Counts:
    """The numbers of layout.py, by name."""

    __slots__ = tuple(name for name, _, _ in layout.FIELDS if not name.endswith(("_sum", "_max")))

    def __init__(self) -> None:
        for name, count, is_double in layout.FIELDS:
            if name in ("delay", "turn", "callback"):
                setattr(self, name, Histogram())
            elif name == "longest_text":
                self.longest_text = b""
            elif not name.endswith(("_sum", "_max")):
                setattr(self, name, [0] * count if count > 1 else 0.0 if is_double else 0)

    def pack(self) -> bytes:
        """Return all in the order of layout.py."""
        values: list[Any] = []
        for name, count, _ in layout.FIELDS:
            if name.endswith(("_sum", "_max")):
                histogram, _, part = name.rpartition("_")
                values.append(getattr(getattr(self, histogram), part))
            elif name in ("delay", "turn", "callback"):
                values += getattr(self, name).buckets
            elif name == "longest_text":
                values += struct.unpack(f"={count}q", self.longest_text.ljust(layout.TEXT_SIZE, b"\0"))
            elif count > 1:
                values += getattr(self, name)
            else:
                values.append(getattr(self, name))
        return struct.pack(layout.FORMAT, *values)


def _shared_counts(memory: mmap.mmap) -> Any:
    """Return the numbers that are in ``memory``, by name."""
    import ctypes

    class SharedHistogram(ctypes.Structure):
        _fields_ = (
            ("sum", ctypes.c_int64),
            ("max", ctypes.c_int64),
            ("buckets", ctypes.c_int64 * layout.BUCKETS),
        )

    fields: list[tuple[str, Any]] = []
    for name, count, is_double in layout.FIELDS:
        if name in ("delay", "turn", "callback"):
            fields.append((name, SharedHistogram))
        elif name == "longest_text":
            fields.append((name, ctypes.c_char * layout.TEXT_SIZE))
        elif not name.endswith(("_sum", "_max")):
            kind: Any = ctypes.c_double if is_double else ctypes.c_int64
            fields.append((name, kind * count if count > 1 else kind))

    class SharedCounts(ctypes.Structure):
        _fields_ = fields

        def pack(self) -> bytes:
            return bytes(self)

    assert ctypes.sizeof(SharedCounts) == layout.SIZE
    return SharedCounts.from_buffer(memory)


def _copy(source: Any, target: Any) -> None:
    for name in Counts.__slots__:
        value = getattr(source, name)
        if name in ("delay", "turn", "callback"):
            histogram = getattr(target, name)
            histogram.sum, histogram.max = value.sum, value.max
            histogram.buckets[:] = list(value.buckets)
        elif name == "channels":
            getattr(target, name)[:] = list(value)
        else:
            setattr(target, name, value)


def _record(histogram: Any, ticks: int) -> None:
    histogram.buckets[layout.bucket(ticks)] += 1  # a tick is a nanosecond here
    histogram.sum += ticks
    if ticks > histogram.max:
        histogram.max = ticks


class Counting:
    """What counts: it has ``counts``."""

    counts: Any


class Figures:
    """The figures of one loop, which its Reactor owns."""

    def __init__(self) -> None:
        counts: Any = Counts()
        counts.magic = layout.MAGIC
        counts.version = layout.VERSION
        counts.size = layout.SIZE
        counts.number = next(_numbers)
        counts.by_counter = clock.may_use_counter()
        counts.made_at = clock.read(counts.by_counter)
        counts.refresh_at = NEVER
        self.counts = counts
        self.longest: tuple[float, str] | None = None
        # shared_file.py: ``refresh`` is called at ``refresh_at``, ``remove`` and ``detach`` at the end.
        self.file: Any = None
        self.shared = False  # the numbers are in a file

    def share(self, fd: int) -> None:
        """Keep the figures in a file from now on, which has PAGES bytes. Raise OSError if it can't be mapped."""
        shared = _shared_counts(mmap.mmap(fd, layout.SIZE, **_WITHOUT_DESCRIPTOR))
        _copy(self.counts, shared)
        self.counts = shared
        self.shared = True

    def make_private(self) -> None:
        """Keep them in memory from now on: the file stays as it is."""
        if self.shared:
            private = Counts()
            _copy(self.counts, private)
            self.counts = private
            self.shared = False
        file, self.file = self.file, None
        self.counts.refresh_at = NEVER
        if file is not None:
            file.detach()

    def raw(self) -> bytes:
        """Return a copy of all, for ``layout.unpack``."""
        return self.counts.pack()  # type: ignore[no-any-return]

    # For what happens seldom, by the place in layout.PLACES

    def add(self, place: int, amount: int = 1) -> None:
        """Add to a number."""
        name = _NAMES[place]
        setattr(self.counts, name, getattr(self.counts, name) + amount)

    def set(self, place: int, value: int) -> None:
        """Set a number."""
        setattr(self.counts, _NAMES[place], value)

    def get(self, place: int) -> int:
        """Return a number."""
        return getattr(self.counts, _NAMES[place])  # type: ignore[no-any-return]

    def set_scale(self) -> None:
        """Measure again how long a tick is, and what time it is."""
        self.counts.base_ticks, self.counts.base_ns, self.counts.ns_per_tick = clock.scale(self.counts.by_counter)

    # The loop's life

    def run_begins(self, thread: int) -> None:
        """A thread begins to run the loop."""
        counts = self.counts
        counts.turn_began = 0
        counts.thread = thread
        counts.began = counts.running_since = clock.read(counts.by_counter)

    def run_ends(self) -> None:
        """It has ended, perhaps by an exception from a wait."""
        counts = self.counts
        since = counts.running_since
        if not since:
            return
        counts.running_since = counts.thread = counts.turn_began = 0  # first: there may be no memory for a number
        now = clock.read(counts.by_counter)
        if counts.slept_at > counts.woken_at:
            counts.idle += now - counts.slept_at
            counts.woken_at = now
        counts.ran += now - since

    def close(self) -> None:
        """The loop is closed: remove the file, if there is one."""
        self.counts.closed = 1
        if self.file is not None:
            self.file.remove()
            self.make_private()

    # Measuring

    def measure(self, change: int) -> None:
        """Count who wants lengths and delays: 1 or -1."""
        counts = self.counts
        if change > 0 and not counts.measuring:
            if not counts.ns_per_tick:
                self.set_scale()
            counts.turn_began = 0
            counts.began = counts.waits_since = clock.read(counts.by_counter)
        counts.measuring += change

    def turn_begins(self) -> None:
        """The wait of a turn has ended: record the length of the last turn."""
        counts = self.counts
        began = counts.turn_began
        if not began:
            now = counts.waits_since = clock.read(counts.by_counter)
        else:
            now = counts.woken_at
            if now > began:  # the wait has read the clock
                ended = counts.slept_at
                # After a wait that was short beside the turn, its events may have come while that ran.
                counts.waits_since = began if (now - ended) * 8 < ended - began else now
            else:
                now = ended = clock.read(counts.by_counter)
                counts.waits_since = began
            _record(counts.turn, ended - began)
        counts.turn_began = counts.began = now

    def callback_ended(self, what: Any, waited: bool) -> None:
        """Record the length of a callback, which ends now, and how long it had to wait if ``waited``.

        It began when the last one ended, so a reading of the clock serves both.
        """
        counts = self.counts
        now = clock.read(counts.by_counter)
        began = counts.began
        counts.began = now
        if waited:
            _record(counts.delay, began - counts.waits_since)
        length = now - began
        is_longest = length > counts.callback.max
        _record(counts.callback, length)
        if is_longest:
            try:
                self._note(what, length)
            except Exception:  # MemoryError: then the name is that of the one before
                pass
            counts.began = clock.read(counts.by_counter)

    def record_delay(self, seconds: float) -> None:
        """Record how late a timer is."""
        _record(self.counts.delay, int(seconds * 1e9))

    def _note(self, what: Any, length: int) -> None:
        # What describes it may run callbacks, and measure a longer one.
        counts = self.counts
        text = describe(what)
        if counts.callback.max != length:
            return
        self.longest = (length * 1e-9, text)
        counts.longest_writes += 1
        counts.longest_ns = length
        counts.longest_text = text.encode("utf-8", "replace")[: layout.TEXT_SIZE - 1]
        counts.longest_writes += 1

    def refresh(self) -> None:
        """Have what is not counted brought up to date, for the readers of the file."""
        self.counts.refresh_at = NEVER  # the file sets the next time
        if self.file is not None:
            self.file.refresh()


_NAMES = {place: name for name, place in layout.PLACES.items()}
