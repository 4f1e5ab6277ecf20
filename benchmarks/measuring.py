"""How one round of a cell is measured with one loop. Each of these may raise processes.MeasurementError."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.machine import cpu_seconds, memory, raise_descriptor_limit
from benchmarks.processes import (
    Bench,
    MeasurementError,
    Server,
    answering,
    counted,
    first_line,
    inside,
    load,
    loading,
    serving,
    started,
)

Figures = dict[str, float]
SPARE_DESCRIPTORS = 100


@dataclass(frozen=True)
class Workload:
    """How much of it: concurrent connections, bytes of a message, seconds of one round."""

    connections: int
    size: int
    seconds: float


@dataclass(frozen=True)
class Conversation:
    """A server and the load that talks to it: CPU time of the server for each request.

    ``service`` is one of server.py's, ``kind`` one that processes.loading takes. ``in_mebibytes``: for each MiB of
    messages instead.
    """

    service: str
    kind: str
    in_mebibytes: bool = False

    def __call__(self, bench: Bench, name: str, work: Workload) -> Figures:
        raise_descriptor_limit(work.connections + SPARE_DESCRIPTORS)
        with serving(bench, self.service, name, work.size) as server:
            found = load(bench, server, self.kind, work.connections, work.size, work.seconds)
        amount = found["requests"] * (work.size / 2**20 if self.in_mebibytes else 1)
        if not amount:
            raise MeasurementError(f"not one request was answered within {work.seconds} s")
        cpu = found["cpu_ns"] / amount / 1000
        return {
            "cpu_us": cpu,
            # Without a single tick in the round there is no sample of the share of user time.
            "user_us": cpu * found["user_ns"] / (found["ticks_ns"] or 1),
            "rate": amount / found["seconds"],
            "per_cpu": 1e6 / cpu,
            "busy": share(found, "cpu_ns"),
            "waited": share(found, "waited_ns"),
        }


@dataclass(frozen=True)
class Idle:
    """What many connections cost that do nothing after one echo each: memory, or CPU time."""

    service: str
    kind: str
    figures: Callable[[Server, Workload, dict[str, int]], Figures]

    def __call__(self, bench: Bench, name: str, work: Workload) -> Figures:
        connections = possible(work.connections)
        raise_descriptor_limit(connections + SPARE_DESCRIPTORS)
        with (
            serving(bench, self.service, name, work.size) as server,
            # A first connection makes the server allocate what it has once; only growth after it belongs to connections.
            loading(bench, server, self.kind, 1, work.size, 0) as first,
        ):
            first_line(first, 30)
            before = memory(server.pid)
            with loading(bench, server, self.kind, connections, work.size, 0) as process:
                first_line(process, 60)
                found = self.figures(server, Workload(connections, work.size, work.seconds), before)
        return {**found, "connections": connections}


def possible(connections: int) -> int:
    """As many of these connections as the hard limit of descriptors allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return connections if hard == resource.RLIM_INFINITY else min(connections, hard - SPARE_DESCRIPTORS)


def growth(server: Server, work: Workload, before: dict[str, int]) -> Figures:
    after = memory(server.pid)
    return {key: (after[key] - before[key]) / work.connections for key in ("pss", "rss")}


def rest(server: Server, work: Workload, before: dict[str, int]) -> Figures:
    """CPU microseconds in each second, once the loop has come to rest."""
    time.sleep(0.2)
    used, begun = cpu_seconds(server.pid), time.monotonic()
    time.sleep(work.seconds)
    return {"rest_us": 1e6 * (cpu_seconds(server.pid) - used) / (time.monotonic() - begun)}


def fairness(bench: Bench, name: str, work: Workload) -> Figures:
    with serving(bench, "echo", name, work.size) as server:
        seconds = 2 * work.seconds
        found = counted(bench, "fairness", server.address, server.pid, work.size, seconds, seconds=seconds)
    return {
        **{key: found[key] for key in ("calm_p50", "calm_p99", "flood_p50", "flood_p99", "mebibytes")},
        "factor": found["flood_p99"] / found["calm_p99"],
        "waited": share(found, "waited_ns"),
    }


@dataclass(frozen=True)
class Burst:
    """How long the answers to many requests take that come at once, each of which takes ``work`` us to compute."""

    work: int

    def __call__(self, bench: Bench, name: str, work: Workload) -> Figures:
        raise_descriptor_limit(work.connections + SPARE_DESCRIPTORS)
        with serving(bench, "work", name, 1) as server:
            times = (work.seconds / 5, work.seconds)
            arguments = (server.address, server.pid, work.connections, self.work, *times)
            found = counted(bench, "burst", *arguments, seconds=work.seconds)
        return {**{key: found[key] for key in ("mean", "p50", "p99")}, **shares(found)}


@dataclass(frozen=True)
class FirstByte:
    """When the pieces of an answer arrive whose handler computes between them. ``service`` is one of computing.py's."""

    service: str
    tls: bool = False

    def __call__(self, bench: Bench, name: str, work: Workload) -> Figures:
        with serving(bench, self.service, name, 1) as server:
            address = f"tls:{server.address}" if self.tls else server.address
            times = (work.seconds / 5, work.seconds)
            found = counted(bench, "firstbyte", address, server.pid, *times, seconds=work.seconds)
        return {**{key: found[key] for key in ("first", "after_short", "mean", "p99")}, **shares(found)}


@dataclass(frozen=True)
class Flooded:
    """How long a ping takes while something floods the server. ``service`` is one of flooded.py's, ``kind`` floods.c's.

    ``crowded``: the server's own threads or children share its core, so that its waiting says nothing about others.
    """

    service: str
    kind: str = "none"
    tls: bool = False
    crowded: bool = False

    def __call__(self, bench: Bench, name: str, work: Workload) -> Figures:
        with serving(bench, self.service, name, 1) as server:
            ping, flooded = server.address.split()
            flooded = f"tls:{flooded}" if self.tls else flooded
            times = (work.seconds / 5, work.seconds)
            found = counted(bench, "floods", self.kind, ping, flooded, server.pid, *times, seconds=work.seconds)
        if not found["flood"]:
            raise MeasurementError(f"nothing of the flood was dealt with in {work.seconds} s")
        return {
            "p50": found["p50"],
            "p99": found["p99"],
            "flood_us": found["cpu_ns"] / found["flood"] / 1000,
            "rate": found["flood"] / found["seconds"],
            "busy": share(found, "cpu_ns"),
            "waited": share(found, "load_waited_ns" if self.crowded else "waited_ns"),
        }


def coldstart(bench: Bench, name: str, work: Workload) -> Figures:
    found = started(bench, name, work.seconds)
    return {"ms": found["ms"], "cpu_ms": found["cpu_ms"], "waited": share(found, "waited_ns")}


def share(found: dict[str, float], key: str) -> float:
    """What was counted in nanoseconds, in percent of the time."""
    return 100 * found[key] / found["seconds"] / 1e9


def shares(found: dict[str, float]) -> Figures:
    """What every conversation has: CPU time of a request, and how much of the time was taken."""
    return {
        "cpu_us": found["cpu_ns"] / found["requests"] / 1000,
        "busy": share(found, "cpu_ns"),
        "waited": share(found, "waited_ns"),
    }


def asking(subject: str, service: str) -> Callable[[Bench, str, Workload], Figures]:
    """A client's subject of inside.py, with the server in C that it asks."""

    def measure(bench: Bench, name: str, work: Workload) -> Figures:
        with answering(bench, service) as port:
            return inside(bench, subject, name, work.seconds, port)

    return measure


def in_process(subject: str) -> Callable[[Bench, str, Workload], Figures]:
    return lambda bench, name, work: inside(bench, subject, name, work.seconds)
