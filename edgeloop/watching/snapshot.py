"""``edgeloop.stats(loop)``: all figures of a loop at one moment, and what happened between two of them."""

from __future__ import annotations

import dataclasses
import os
import struct
import time
from types import TracebackType
from typing import Any, Self

from .. import stdlib
from . import layout
from .figures import Figures
from .histogram import Histogram


@dataclasses.dataclass(frozen=True, slots=True)
class Channels:
    """Descriptors in the epoll set, by kind."""

    stream: int = 0
    """Connections: sockets of stream transports."""
    datagram: int = 0
    read_pipe: int = 0
    write_pipe: int = 0
    listener: int = 0
    watch: int = 0
    """Of ``add_reader``, ``add_writer`` and ``sock_*`` calls."""
    other: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class SystemCalls:
    """How often the loop, and its transports and servers, have made each system call. Their relatives count as they do."""

    epoll_wait: int = 0
    epoll_ctl: int = 0
    recv: int = 0
    """recv(2), recvmsg(2), recvmmsg(2)."""
    send: int = 0
    """send(2), sendto(2), sendmsg(2), sendmmsg(2)."""
    read: int = 0
    """Of pipes: read(2), preadv2(2)."""
    write: int = 0
    """Of pipes: write(2), writev(2), pwritev2(2)."""
    accept: int = 0
    sendfile: int = 0
    wake: int = 0
    """Writes to the loop's eventfd, by other threads and by signal handlers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """Connections that have ended, by what ``connection_lost`` was told."""

    end: int = 0
    """None: the peer has closed, or this side, and all was sent."""
    abort: int = 0
    """None, after ``abort``."""
    reset: int = 0
    """A ConnectionError."""
    timeout: int = 0
    """A TimeoutError: the kernel's, or a limit of the server's."""
    error: int = 0
    """Any other exception."""


@dataclasses.dataclass(frozen=True, slots=True)
class Longest:
    """The longest callback that was measured."""

    seconds: float
    name: str
    """The task and its coroutine, the callback, or the protocol; cut off after 127 bytes where it was read from a file."""


#: Of what happened between two moments there are differences. The other fields are as at the later one.
_COUNTED = (
    "seconds_active seconds_idle turns waits events callbacks timers bytes_in bytes_out accepts accepts_refused "
    "accepts_failed connections_made connections_closed tls_handshakes tls_handshakes_failed"
).split()
_GROUPS = ("system_calls", "lost", "delay", "turn", "callback")


@dataclasses.dataclass(frozen=True, slots=True)
class Stats:
    """The figures of a loop at one moment; ``later - earlier`` is what happened in between.

    Times are in seconds. ``delay``, ``turn``, ``callback`` and ``longest`` have what came while somebody did ``measure``.
    """

    loop: str
    """Which one: the process and the number of the loop in it, "4711/1"."""
    taken: float
    """When, on the clock ``time.monotonic``; after ``-`` of the later one."""
    seconds: float
    """How long the loop has run until then; after ``-``: that passed between the two, whether it ran or not."""

    running: bool
    """A thread runs the loop."""
    waiting: bool
    """It sleeps until there is an event or a timer is due."""
    closed: bool
    busy_for: float
    """How long ago its last sleep ended; 0.0 while it sleeps or does not run. A busy loop may not sleep between two turns."""
    blocked_for: float
    """How long the callback under way has been running; 0.0 while it sleeps, does not run, or nobody measures."""
    measuring: bool

    seconds_active: float
    seconds_idle: float
    """Of the time it ran: how long it worked, and how long it slept."""
    turns: int
    waits: int
    """Calls of epoll_wait(2). A turn that has callbacks to run may leave it out."""
    events: int
    callbacks: int
    """How many have run, those of timers and readers included. A protocol that is called for an event is not among them."""
    timers: int
    """How many were due and not cancelled."""
    bytes_in: int
    bytes_out: int
    """Through transports, ``sendfile`` and ``sock_*``; encrypted ones with TLS."""
    system_calls: SystemCalls
    accepts: int
    accepts_refused: int
    """Accepted and closed at once: no descriptor was free, or a limit of the server's was reached."""
    accepts_failed: int
    """accept(2) has failed."""
    connections_made: int
    connections_closed: int
    lost: Lost
    tls_handshakes: int
    tls_handshakes_failed: int

    ready: int
    """Callbacks that were ready when the turn under way began; 0 while the loop sleeps."""
    timers_waiting: int
    """Those that are cancelled and not removed yet included."""
    channels: Channels
    connections: int
    """Stream transports that have a descriptor."""
    writing_paused: int
    """Transports whose protocol was told to stop writing."""
    children: int
    threads: int
    """Of the default executor and of the resolver."""
    jobs_queued: int
    """What waits for one of these threads."""
    descriptors: int
    """That the process has open; -1 if that can't be found out."""

    longest: Longest | None
    """The longest callback; after ``-``: None if no longer one was measured in between."""
    delay: Histogram
    """How long what was ready had to wait for its turn: an upper bound, since the loop learns of it at its next wait only."""
    turn: Histogram
    callback: Histogram
    """Lengths, of turns without their sleep, and of callbacks and calls of protocols."""

    @property
    def utilization(self) -> float:
        """The part of the time that the loop worked: 0.0 to 1.0, 0.0 if it never ran."""
        total = self.seconds_active + self.seconds_idle
        return self.seconds_active / total if total else 0.0

    def __sub__(self, earlier: Stats) -> Stats:
        if not isinstance(earlier, Stats):
            return NotImplemented
        if earlier.loop != self.loop:
            raise ValueError(f"these are figures of different loops: {self.loop} and {earlier.loop}")
        changes: dict[str, Any] = {name: getattr(self, name) - getattr(earlier, name) for name in _COUNTED}
        changes |= {name: _difference(getattr(self, name), getattr(earlier, name)) for name in _GROUPS}
        if earlier.longest is not None and self.longest is not None and self.longest.seconds <= earlier.longest.seconds:
            changes["longest"] = None
        return dataclasses.replace(self, seconds=self.taken - earlier.taken, **changes)


def _difference(later: Any, earlier: Any) -> Any:
    if isinstance(later, Histogram):
        return later - earlier
    names = [field.name for field in dataclasses.fields(later)]
    return type(later)(**{name: getattr(later, name) - getattr(earlier, name) for name in names})


def from_raw(data: bytes, now: float, descriptors: int, **others: Any) -> Stats:
    """Return the figures that ``Figures.raw`` or a file has at ``now``. ``others`` replace what it says."""
    raw = layout.unpack(data)
    per_tick = raw["ns_per_tick"] * 1e-9
    moment = raw["base_ticks"] + (now - raw["base_ns"] * 1e-9) / per_tick
    running = raw["running_since"] != 0 and not raw["closed"]
    waiting = running and raw["slept_at"] > raw["woken_at"]
    idle = raw["idle"] + (max(moment - raw["slept_at"], 0) if waiting else 0)
    ran = raw["ran"] + (max(moment - raw["running_since"], 0) if running else 0)
    awake = running and not waiting
    since = max(raw["woken_at"], raw["running_since"])
    text = struct.pack(f"={len(raw['longest_text'])}q", *raw["longest_text"])
    longest = Longest(raw["longest_ns"] * 1e-9, text.rstrip(b"\0").decode("utf-8", "replace"))
    figures: dict[str, Any] = {
        "loop": f"{raw['pid'] or os.getpid()}/{raw['number']}",
        "taken": now,
        "seconds": ran * per_tick,
        "running": running,
        "waiting": waiting,
        "closed": bool(raw["closed"]),
        "busy_for": max(moment - since, 0) * per_tick if awake else 0.0,
        "blocked_for": max(moment - raw["began"], 0) * per_tick if awake and raw["measuring"] else 0.0,
        "measuring": bool(raw["measuring"]),
        "seconds_active": max(ran - idle, 0) * per_tick,
        "seconds_idle": idle * per_tick,
        "system_calls": SystemCalls(epoll_wait=raw["waits"], **{name: raw[name] for name in _CALLS}),
        "lost": Lost(**{name: raw[f"lost_{name}"] for name in _LOST}),
        "tls_handshakes": raw["handshakes"],
        "tls_handshakes_failed": raw["handshakes_failed"],
        "ready": 0 if waiting or not running else raw["ready"],
        "channels": Channels(**dict(zip(layout.KINDS, raw["channels"], strict=True))),
        "connections": raw["connections_made"] - raw["connections_closed"],
        "descriptors": descriptors,
        "longest": longest if raw["longest_ns"] else None,
    }
    for name in ("delay", "turn", "callback"):
        figures[name] = Histogram(raw[name], raw[f"{name}_sum"] * per_tick, raw[f"{name}_max"] * per_tick)
    for field in dataclasses.fields(Stats):
        if field.name not in figures:
            figures[field.name] = raw[field.name]
    return Stats(**figures | others)


_CALLS = [field.name for field in dataclasses.fields(SystemCalls) if field.name != "epoll_wait"]
_LOST = [field.name for field in dataclasses.fields(Lost)]


def figures_of(loop: Any) -> Figures:
    """Return the Figures of a loop. Raise TypeError if it isn't edgeloop's."""
    figures = getattr(getattr(loop, "reactor", None), "figures", None)
    if not isinstance(figures, Figures):
        raise TypeError(f"this needs a loop of edgeloop, not {loop!r}")
    return figures


def stats(loop: Any) -> Stats:
    """Return the figures of ``loop`` at this moment. Any thread may call, also while the loop is blocked or closed.

    Raises TypeError if the loop isn't edgeloop's. docs/watching.md.
    """
    figures = figures_of(loop)
    figures.set_scale()
    others: dict[str, Any] = {}
    if figures.longest is not None:
        others["longest"] = Longest(*figures.longest)
    threads, queued = stdlib.threads_of(getattr(loop, "_default_executor", None))
    more_threads, more_queued = stdlib.threads_of(getattr(getattr(loop, "_resolver", None), "_pool", None))
    return from_raw(
        figures.raw(),
        time.monotonic(),
        descriptors_of("self"),
        threads=threads + more_threads,
        jobs_queued=queued + more_queued,
        **others,
    )


def descriptors_of(pid: int | str) -> int:
    """Return how many descriptors a process has open, -1 if it may not be asked."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd")) - (pid == "self")  # without the one that lists them
    except OSError:
        return -1


class Measurement:
    """What ``measure`` returns: ``stop`` it, or use it as a context manager. Any thread may."""

    def __init__(self, figures: Figures) -> None:
        self._figures: Figures | None = figures
        figures.measure(1)

    def stop(self) -> None:
        """Measure no more, unless others do. May be called again."""
        figures, self._figures = self._figures, None
        if figures is not None:
            figures.measure(-1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def measure(loop: Any) -> Measurement:
    """Have ``loop`` measure delays, and the lengths of turns and callbacks, until the returned object is stopped.

    That takes a clock reading for each callback. Any thread may call. Raises TypeError if the loop isn't edgeloop's.
    """
    return Measurement(figures_of(loop))
