"""The cells of the comparison: what is done, what is measured, and which figure the loops are compared by."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.loops import LIMIT
from benchmarks.machine import memory, raise_descriptor_limit
from benchmarks.processes import Bench, MeasurementError, first_line, inside, load, loading, serving

Figures = dict[str, float]
SPARE_DESCRIPTORS = 100


@dataclass(frozen=True)
class Workload:
    """How much of it: concurrent connections, bytes of a message, seconds of one round."""

    connections: int
    size: int
    seconds: float


@dataclass(frozen=True)
class Column:
    """One figure of a cell.

    ``compared``: the table also gives its ratio to the reference loops. ``pooled``: the mean of the rounds is shown in
    place of the median, for figures that the kernel samples so coarsely that only many samples together say something.
    """

    key: str
    heading: str
    digits: int = 2
    compared: bool = False
    pooled: bool = False

    def summary(self, samples: Sequence[float]) -> float:
        return statistics.fmean(samples) if self.pooled else statistics.median(samples)


@dataclass(frozen=True)
class Cell:
    """One comparison. ``measure`` does one round with one loop and may raise processes.MeasurementError.

    ``connections`` and ``size`` are what it takes by default, None where the number means nothing. ``limited``: the
    server in C can do it too.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    measure: Callable[[Bench, str, Workload], Figures]
    connections: int | None = None
    size: int | None = None
    limited: bool = True

    def workload(self, connections: int | None, size: int | None, seconds: float) -> Workload:
        """The cell's own numbers where None is given. A number the cell has no use for changes nothing."""
        return Workload(connections or self.connections or 1, size or self.size or 1, seconds)

    def described(self, work: Workload) -> str:
        """The title with the numbers that mean something in this cell."""
        connections = "" if self.connections is None else f"; connections: {work.connections:,}"
        size = "" if self.size is None else f"; bytes of a message: {work.size:,}"
        return self.title + connections + size

    def includes(self, loop: str) -> bool:
        return self.limited or loop != LIMIT


@dataclass(frozen=True)
class Conversation:
    """A server and the load that talks to it: CPU time of the server for each request.

    ``service`` is one of server.py's, ``kind`` one of load.c's. ``in_mebibytes``: for each MiB of messages instead.
    """

    service: str
    kind: str
    in_mebibytes: bool = False

    def __call__(self, bench: Bench, name: str, work: Workload) -> Figures:
        with serving(bench, self.service, name, work.size) as server:
            counted = load(bench, server, self.kind, work.connections, work.size, work.seconds)
        amount = counted["requests"] * (work.size / 2**20 if self.in_mebibytes else 1)
        if not amount:
            raise MeasurementError(f"not one request was answered within {work.seconds} s")
        cpu = counted["cpu_ns"] / amount / 1000
        return {
            "cpu_us": cpu,
            # Without a single tick in the round there is no sample of the share of user time.
            "user_us": cpu * counted["user_ns"] / (counted["ticks_ns"] or 1),
            "rate": amount / counted["seconds"],
            "busy": 100 * counted["cpu_ns"] / counted["seconds"] / 1e9,
            "waited": 100 * counted["waited_ns"] / counted["seconds"] / 1e9,
        }


def idle(bench: Bench, name: str, work: Workload) -> Figures:
    raise_descriptor_limit(work.connections + SPARE_DESCRIPTORS)
    with (
        serving(bench, "echo", name, work.size) as server,
        # A first connection makes the server allocate what it has once; only growth after it belongs to connections.
        loading(bench, server, "idle", 1, work.size, 0) as first,
    ):
        first_line(first, 30)
        before = memory(server.pid)
        with loading(bench, server, "idle", work.connections, work.size, 0) as process:
            first_line(process, 60)
            after = memory(server.pid)
    return {key: (after[key] - before[key]) / work.connections for key in ("pss", "rss")}


def in_process(subject: str) -> Callable[[Bench, str, Workload], Figures]:
    return lambda bench, name, work: inside(bench, subject, name, work.seconds)


REQUEST = (
    Column("cpu_us", "CPU us/req", 2, compared=True),
    Column("user_us", "user us/req", 2, pooled=True),
    Column("rate", "req/s", 0),
    Column("busy", "busy %", 0),
)
MEBIBYTE = (
    Column("cpu_us", "CPU us/MiB", 0, compared=True),
    Column("user_us", "user us/MiB", 0, pooled=True),
    Column("rate", "MiB/s", 0),
    Column("busy", "busy %", 0),
)
CONNECTION = (
    Column("cpu_us", "CPU us/conn", 1, compared=True),
    Column("user_us", "user us/conn", 1, pooled=True),
    Column("rate", "conn/s", 0),
    Column("busy", "busy %", 0),
)

CELLS: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        Cell("echo", "echo, Protocol", REQUEST, Conversation("echo", "echo"), 64, 1024),
        Cell("buffered", "echo, BufferedProtocol", REQUEST, Conversation("buffered", "echo"), 64, 1024),
        Cell("streams", "echo, streams", REQUEST, Conversation("streams", "echo"), 64, 1024),
        Cell("ownstreams", "echo, the loop's own streams", REQUEST, Conversation("ownstreams", "echo"), 64, 1024),
        Cell("sock", "echo, sock_recv and sock_sendall", REQUEST, Conversation("sock", "echo"), 64, 1024),
        Cell("http", "aiohttp hello world", REQUEST, Conversation("http", "http"), 64, limited=False),
        Cell("bulk", "messages one way, to the server", MEBIBYTE, Conversation("sink", "sink", True), 1, 2**20),
        Cell("fetch", "messages one way, from the server", MEBIBYTE, Conversation("fetch", "fetch", True), 1, 2**20),
        Cell("accept", "connect, echo one byte, close", CONNECTION, Conversation("echo", "accept"), 64),
        Cell(
            "idle",
            "memory of idle connections",
            (Column("pss", "PSS B/conn", 0, compared=True), Column("rss", "RSS B/conn", 0)),
            idle,
            10_000,
            1024,
        ),
        Cell(
            "callsoon",
            "call_soon, CPU ns per callback",
            (
                Column("turn_ns", "own turn", 0, compared=True),
                Column("batch_ns", "of 1000", 0, compared=True),
                Column("args_ns", "of 1000, 2 args", 0, compared=True),
                Column("safe_ns", "threadsafe", 0, compared=True),
            ),
            in_process("callsoon"),
            limited=False,
        ),
        Cell(
            "timers",
            "call_later, CPU ns per timer",
            (
                Column("cancel_ns", "set+cancel", 0, compared=True),
                Column("fire_ns", "set+fire", 0, compared=True),
                Column("spread_ns", "spread", 0, compared=True),
            ),
            in_process("timers"),
            limited=False,
        ),
        Cell(
            "tasks",
            "coroutines and tasks, CPU ns for each",
            (
                Column("sleep_ns", "sleep(0)", 0, compared=True),
                Column("create_ns", "create_task", 0, compared=True),
                Column("gather_ns", "gather of 100", 0, compared=True),
                Column("timeout_ns", "timeout()", 0, compared=True),
            ),
            in_process("tasks"),
            limited=False,
        ),
        Cell(
            "threads",
            "other threads: time to wake the loop up, CPU of a round trip and of a literal's getaddrinfo",
            (
                Column("wake_us", "wake-up us", 1, compared=True),
                Column("executor_us", "executor us", 1, compared=True),
                Column("literal_us", "literal us", 1, compared=True),
            ),
            in_process("threads"),
            limited=False,
        ),
        Cell(
            "spawn",
            "create_subprocess_exec of /bin/true, CPU of the loop's process",
            (Column("spawn_us", "CPU us/child", 0, compared=True),),
            in_process("spawn"),
            limited=False,
        ),
        Cell(
            "pipes",
            "64 KiB chunks through a pipe, both ends on the loop",
            (Column("pipe_us", "CPU us/MiB", 0, compared=True),),
            in_process("pipes"),
            limited=False,
        ),
        Cell(
            "sleeps",
            "lateness of call_later(200 us), mean; and how much too early the earliest was",
            (Column("late_us", "late us", 1, compared=True), Column("early_us", "early us", 1)),
            in_process("sleeps"),
            limited=False,
        ),
        Cell(
            "waiting",
            "an idle loop with 10,000 timers",
            (Column("timers_us", "CPU us/s", 0, compared=True),),
            in_process("waiting"),
            limited=False,
        ),
    )
}
