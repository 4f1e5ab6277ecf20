"""What is exported, under which name: OpenTelemetry's conventions for runtimes, ``asyncio`` in place of ``nodejs``.

https://opentelemetry.io/docs/specs/semconv/runtime/nodejs-metrics/
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from ..watching.snapshot import Stats

PREFIX = "asyncio.eventloop"
COUNTER = "counter"  # only grows
GAUGE = "gauge"

Values = Iterable[tuple[dict[str, str], float]]


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """One instrument: its values, with their attributes, follow from a snapshot, or from the part since the last one."""

    name: str
    """Below PREFIX."""
    kind: str
    unit: str
    description: str
    read: Callable[[Stats], Values]
    attributes: tuple[str, ...] = ()
    """Their names."""
    of_interval: bool = False
    """It is about the time since the last collection."""


def _plain(field: str) -> Callable[[Stats], Values]:
    return lambda stats: [({}, getattr(stats, field))]


def _group(field: str, attribute: str) -> Callable[[Stats], Values]:
    def read(stats: Stats) -> Values:
        group: Any = getattr(stats, field)
        return [({attribute: part.name}, getattr(group, part.name)) for part in dataclasses.fields(group)]

    return read


def _each(attribute: str, **fields: str) -> Callable[[Stats], Values]:
    return lambda stats: [({attribute: value}, getattr(stats, field)) for value, field in fields.items()]


STATE = f"{PREFIX}.state"

METRICS = (
    Metric(
        *("time", COUNTER, "s", "Time that the loop has worked and slept"),
        _each(STATE, active="seconds_active", idle="seconds_idle"),
        (STATE,),
    ),
    Metric(
        *("utilization", GAUGE, "1", "Part of the time that the loop worked, since the last collection"),
        _plain("utilization"),
        of_interval=True,
    ),
    Metric("blocked", GAUGE, "s", "How long the callback under way has been running", _plain("blocked_for")),
    Metric("turns", COUNTER, "{turn}", "Turns of the loop", _plain("turns")),
    Metric("waits", COUNTER, "{wait}", "Waits for events", _plain("waits")),
    Metric("events", COUNTER, "{event}", "Events of descriptors", _plain("events")),
    Metric("callbacks", COUNTER, "{callback}", "Callbacks that have run", _plain("callbacks")),
    Metric("timers", COUNTER, "{timer}", "Timers that were due", _plain("timers")),
    Metric("ready", GAUGE, "{callback}", "Callbacks that were ready when the turn began", _plain("ready")),
    Metric("timers.waiting", GAUGE, "{timer}", "Timers that wait", _plain("timers_waiting")),
    Metric("channels", GAUGE, "{descriptor}", "Descriptors in the epoll set", _group("channels", "kind"), ("kind",)),
    Metric(
        *("io", COUNTER, "By", "Bytes received and sent"),
        _each("direction", receive="bytes_in", transmit="bytes_out"),
        ("direction",),
    ),
    Metric("system_calls", COUNTER, "{call}", "System calls", _group("system_calls", "call"), ("call",)),
    Metric(
        *("accepts", COUNTER, "{connection}", "Connections that came to listening sockets"),
        _each("outcome", accepted="accepts", refused="accepts_refused", failed="accepts_failed"),
        ("outcome",),
    ),
    Metric("connections", GAUGE, "{connection}", "Open connections", _plain("connections")),
    Metric(
        "connections.lost",
        COUNTER,
        "{connection}",
        "Connections that have ended",
        _group("lost", "reason"),
        ("reason",),
    ),
    Metric("writing_paused", GAUGE, "{transport}", "Transports whose peer takes too little", _plain("writing_paused")),
    Metric(
        *("tls.handshakes", COUNTER, "{handshake}", "TLS handshakes"),
        _each("outcome", completed="tls_handshakes", failed="tls_handshakes_failed"),
        ("outcome",),
    ),
    Metric("children", GAUGE, "{process}", "Child processes", _plain("children")),
    Metric("threads", GAUGE, "{thread}", "Threads of the default executor and the resolver", _plain("threads")),
    Metric("threads.queue", GAUGE, "{job}", "Jobs that wait for such a thread", _plain("jobs_queued")),
    Metric("descriptors", GAUGE, "{descriptor}", "Open descriptors of the process", _plain("descriptors")),
)

#: Of each there is a histogram: its field in Stats, and a description.
HISTOGRAMS = (
    ("delay", "How long what was ready had to wait, at most"),
    ("turn", "Length of a turn, without its sleep"),
    ("callback", "Length of a callback"),
)
