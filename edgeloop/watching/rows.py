"""The shared loops of this machine as rows of a table: what each did between two looks at it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from typing import Any

from .shared_file import SharedLoop, has_files, is_suspended, loops, namespace, namespace_of
from .snapshot import Stats

# A loop that has been awake for this long, and in the same turn all the time, is called blocked.
BLOCKED_SECONDS = 0.1


class NotWatchedError(Exception):
    """Nothing can be shown of this process. The text says why, and what helps."""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A loop: its figures, and the changes since the look before, or since its start."""

    shared: SharedLoop
    stats: Stats
    change: Stats
    """What has happened in between; rates are per second of ``change.seconds``."""
    command: str
    state: str
    """idle, busy, blocked; stopped: no thread runs the loop; suspended: the kernel runs no thread of its process."""

    def rate(self, count: int) -> float:
        """Return how often a second, for a count of ``change``."""
        return count / self.change.seconds if self.change.seconds > 0 else 0.0

    def values(self) -> dict[str, Any]:
        """Return what is shown, by the names of ``--json``: seconds, bytes and numbers per second."""
        stats, change = self.stats, self.change
        return {
            "pid": self.shared.pid,
            "loop": self.shared.number,
            "command": self.command,
            "state": self.state,
            "busy_for": stats.busy_for,
            "blocked_for": max(stats.blocked_for, stats.busy_for if self.state == "blocked" else 0.0),
            "load": change.utilization,
            "delay_p50": change.delay.percentile(50) if change.delay.count else None,
            "delay_p99": change.delay.percentile(99) if change.delay.count else None,
            "connections": stats.connections,
            "accepts": self.rate(change.accepts),
            "bytes_in": self.rate(change.bytes_in),
            "bytes_out": self.rate(change.bytes_out),
            "callbacks": self.rate(change.callbacks),
            "turns": self.rate(change.turns),
            "ready": stats.ready,
            "timers": stats.timers_waiting,
            "descriptors": stats.descriptors,
            "longest": stats.longest.seconds if stats.longest else None,
            "longest_name": stats.longest.name if stats.longest else None,
        }


class Sampler:
    """Looks at all shared loops, or at those of one process, each time that ``rows`` is called.

    From the first look on it has them measure delays and lengths, until ``seconds`` after the last one.
    """

    def __init__(self, pid: int | None = None, seconds: float = 10.0) -> None:
        self._pid = pid
        self._seconds = seconds
        self._before: dict[str, Stats] = {}

    def rows(self) -> list[Row]:
        """Return a row for each loop. Raise NotWatchedError if a process was named and has none."""
        found = list(self._look())
        self._before = {row.shared.path: row.stats for row in found}
        if self._pid is not None and not found:
            raise NotWatchedError(why_not(self._pid))
        return found

    def _look(self) -> Iterator[Row]:
        for shared in loops(self._pid):
            with contextlib.suppress(OSError, ValueError):
                shared.measure(self._seconds)
            try:
                stats = shared.read()
            except (OSError, ValueError):
                continue  # it has ended since
            before = self._before.get(shared.path)
            change = stats if before is None else stats - before
            state = "suspended" if is_suspended(shared.pid) else state_of(stats, change, before is not None)
            yield Row(shared, stats, change, command_of(shared.pid), state)


def pause_and_look(sampler: Sampler, seconds: float) -> list[Row]:
    """Return the rows of a second look, ``seconds`` after a first one. Raise as ``Sampler.rows``."""
    sampler.rows()
    time.sleep(seconds)
    return sampler.rows()


def state_of(stats: Stats, change: Stats, twice: bool) -> str:
    """Return the state of a loop. ``twice``: it was looked at before, so ``change`` is what it did since."""
    if not stats.running:
        return "stopped"
    if stats.waiting:
        return "idle"
    if stats.blocked_for >= BLOCKED_SECONDS:
        return "blocked"
    if twice and change.turns == 0 and stats.busy_for >= BLOCKED_SECONDS:
        return "blocked"
    return "busy"


def command_of(pid: int) -> str:
    """Return the command line of a process without its interpreter's path, printable, "?" if it may not be read."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    words[0] = os.path.basename(words[0])
    return "".join(char if char.isprintable() else "?" for char in " ".join(words).strip())


def why_not(pid: int) -> str:
    """Return why no loop of this process can be shown."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return f"no process has the number {pid}"
    if owner != os.geteuid() and os.geteuid() != 0:
        return f"process {pid} belongs to the user {owner}: ask as that user, or as root"
    if namespace_of(pid) != namespace():
        return (
            f"process {pid} runs in a container, which has process numbers of its own: ask in there, or by "
            f"nsenter --target {pid} --pid --mount python -m edgeloop ps"
        )
    if has_files(pid):
        return f"process {pid} has figures that no loop keeps now (after execve), or of another version of edgeloop"
    return (
        f"process {pid} shares no loop: it has to call edgeloop.share(loop), or to be started with EDGELOOP_WATCH=0.1"
    )
