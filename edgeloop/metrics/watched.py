"""The loops that a collector is about, and their snapshots."""

from __future__ import annotations

import dataclasses
import threading
import time
import weakref
from typing import Any

from ..watching.snapshot import Measurement, Stats, figures_of, measure, stats

# So long a snapshot serves in any case: several exporters may collect at once.
MAX_AGE = 0.1
# An exporter asks for each instrument by itself, and may wait for a processor in between. So an older snapshot serves those
# that were not asked for yet, but no longer than this.
MAX_COLLECTION = 10.0


@dataclasses.dataclass(slots=True)
class _Watched:
    loop: weakref.ref[Any]
    measurement: Measurement
    before: Stats
    latest: Stats
    asked: set[str]
    """Who has had the latest one: who asks again, collects anew."""


class WatchedLoops:
    """Loops by name. Any thread may call. A loop that is closed or gone is left out from then on."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.Lock()

    def add(self, loop: Any, name: str | None = None) -> None:
        """Export a loop's figures, under a name that no other of these loops has; by default its number in the process.

        Measures delays and lengths from now on. Raises TypeError if it isn't edgeloop's, ValueError for a name or a loop that
        is there already.
        """
        figures_of(loop)
        first = stats(loop)
        name = first.loop.partition("/")[2] if name is None else name
        with self._lock:
            self._drop_closed()
            if name in self._watched:
                raise ValueError(f"there is another loop of the name {name!r}")
            if any(watched.loop() is loop for watched in self._watched.values()):
                raise ValueError(f"{loop!r} is there already")
            self._watched[name] = _Watched(weakref.ref(loop), measure(loop), first, first, set())

    def remove(self, loop: Any) -> None:
        """Export it no more. Do nothing if it isn't there."""
        with self._lock:
            for name, watched in list(self._watched.items()):
                if watched.loop() is loop:
                    del self._watched[name]
                    watched.measurement.stop()

    def _drop_closed(self) -> None:
        for name, watched in list(self._watched.items()):
            loop = watched.loop()
            if loop is None or loop.is_closed():
                del self._watched[name]
                watched.measurement.stop()

    def snapshots(self, instrument: str = "") -> list[tuple[str, Stats, Stats]]:
        """Return of each loop its name, its figures, and those since the last collection.

        ``instrument``: for which one, where an exporter asks for each by itself. All of a collection get the same.
        """
        with self._lock:
            self._drop_closed()
            found = []
            for name, watched in self._watched.items():
                loop = watched.loop()
                if loop is None:
                    continue
                age = time.monotonic() - watched.latest.taken
                limit = MAX_AGE if instrument in watched.asked else MAX_COLLECTION
                if age > limit or watched.latest is watched.before:
                    watched.before, watched.latest = watched.latest, stats(loop)
                    watched.asked.clear()
                watched.asked.add(instrument)
                found.append((name, watched.latest, watched.latest - watched.before))
            return found
