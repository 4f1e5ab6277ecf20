"""The cells of the comparison: what is done, what is measured, and which figure the loops are compared by."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.loops import LIMIT, LOOPS
from benchmarks.measuring import (
    Burst,
    Conversation,
    Figures,
    FirstByte,
    Flooded,
    Idle,
    Workload,
    asking,
    coldstart,
    fairness,
    growth,
    in_process,
    rest,
)
from benchmarks.processes import Bench


@dataclass(frozen=True)
class Column:
    """One figure of a cell.

    ``compared``: the table also gives its ratio to the reference loops. ``pooled``: the mean of the rounds is shown in
    place of the median, for figures that the kernel samples so coarsely that only many samples together say something.
    ``counted``: it is CPU time for an operation, and part of the sum over all cells. ``awaited``: it has its place in the
    table of what a peer waits for.
    """

    key: str
    heading: str
    digits: int = 2
    compared: bool = False
    pooled: bool = False
    counted: bool = False
    awaited: bool = False

    def summary(self, samples: Sequence[float]) -> float:
        return statistics.fmean(samples) if self.pooled else statistics.median(samples)


@dataclass(frozen=True)
class Cell:
    """One comparison. ``measure`` does one round with one loop and may raise processes.MeasurementError.

    ``connections`` and ``size`` are what it takes by default, None where the number means nothing. ``limited``: the
    server in C can do it too. ``connected``: what replaces a loop's transports makes a difference to it. ``rounds``: at
    most so many, for what takes long and differs little. ``usual``: one of those that are measured when none is named.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    measure: Callable[[Bench, str, Workload], Figures]
    connections: int | None = None
    size: int | None = None
    limited: bool = True
    connected: bool = True
    rounds: int | None = None
    usual: bool = True

    def workload(self, connections: int | None, size: int | None, seconds: float, most: int | None = None) -> Workload:
        """The cell's own numbers where None is given. A number the cell has no use for changes nothing.

        ``most``: no more connections than these.
        """
        own = connections or self.connections or 1
        return Workload(min(own, most or own), size or self.size or 1, seconds)

    def described(self, work: Workload) -> str:
        """The title with the numbers that mean something in this cell."""
        connections = "" if self.connections is None else f"; connections: {work.connections:,}"
        size = "" if self.size is None else f"; bytes of a message: {work.size:,}"
        return self.title + connections + size

    def includes(self, loop: str) -> bool:
        if loop == LIMIT:
            return self.limited
        return self.connected or LOOPS[loop].over is None


def cpu(key: str, heading: str, digits: int = 0) -> Column:
    return Column(key, heading, digits, compared=True, counted=True)


def per(unit: str, short: str, digits: int) -> tuple[Column, ...]:
    """The columns of a conversation."""
    return (
        cpu("cpu_us", f"CPU us/{unit}", digits),
        Column("user_us", f"user us/{unit}", digits, pooled=True),
        Column("rate", f"{short}/s", 0),
        Column("busy", "busy %", 0),
    )


REQUEST = per("req", "req", 2)
MEBIBYTE = per("MiB", "MiB", 0)
CONNECTION = per("conn", "conn", 1)
DATAGRAM = (cpu("cpu_us", "CPU us/dgram", 2), Column("per_cpu", "dgrams/CPU s", 0), *REQUEST[1:])
ASKED = (cpu("cpu_us", "CPU us/req", 2), *REQUEST[2:])
MEMORY = (Column("pss", "PSS B/conn", 0, compared=True), Column("rss", "RSS B/conn", 0))

#: Sizes and numbers of connections that a cell's name may end with, as in echo-16k-64.
SIZES = {"1": 1, "1k": 1024, "16k": 16 * 1024, "100k": 100 * 1024}
CONNECTIONS = (1, 64, 1000)

ECHO = Cell("echo", "echo, Protocol", REQUEST, Conversation("echo", "echo"), 64, 1024)
STREAMS = Cell("streams", "echo, streams", REQUEST, Conversation("streams", "echo"), 64, 1024)
#: The cells that come in every size and number of connections.
FAMILIES = (
    ECHO,
    Cell("buffered", "echo, BufferedProtocol", REQUEST, Conversation("buffered", "echo"), 64, 1024),
    STREAMS,
    Cell("ownstreams", "echo, the loop's own streams", REQUEST, Conversation("ownstreams", "echo"), 64, 1024),
    Cell(
        "sock",
        "echo, sock_recv and sock_sendall",
        REQUEST,
        Conversation("sock", "echo"),
        64,
        1024,
        connected=False,
    ),
)
#: Of the variants, those that are measured when no cell is named.
USUAL = ("echo-1-64", "echo-16k-64", "echo-100k-64", "echo-1k-1", "echo-1k-1000", "streams-1k-1", "streams-16k-64")


def variants(cell: Cell) -> list[Cell]:
    return [
        replace(cell, name=name, connections=connections, size=size, usual=name in USUAL)
        for label, size in SIZES.items()
        for connections in CONNECTIONS
        if (size, connections) != (cell.size, cell.connections)
        for name in [f"{cell.name}-{label}-{connections}"]
    ]


OVER_CONNECTIONS = (
    Cell("twowrites", "echo, header and body in two writes", REQUEST, Conversation("twowrites", "echo"), 64, 1024),
    Cell("unix", "echo, Unix sockets", REQUEST, Conversation("unix", "echo"), 64, 1024),
    Cell("tls", "echo over TLS, Protocol", REQUEST, Conversation("tls", "tls:echo"), 64, 1024, limited=False),
    Cell(
        "tlsstreams", "echo over TLS, streams", REQUEST, Conversation("tlsstreams", "tls:echo"), 64, 1024, limited=False
    ),
    Cell(
        "tlsownstreams",
        "echo over TLS, the loop's own streams",
        REQUEST,
        Conversation("tlsownstreams", "tls:echo"),
        64,
        1024,
        limited=False,
    ),
    Cell(
        "handshakes",
        "TLS: connect, handshake, echo one byte, close",
        CONNECTION,
        Conversation("tls", "tls:accept"),
        64,
        limited=False,
    ),
    Cell("accept", "connect, echo one byte, close", CONNECTION, Conversation("echo", "accept"), 64),
    Cell("bulk", "messages one way, to the server", MEBIBYTE, Conversation("sink", "sink", True), 1, 2**20),
    Cell("fetch", "messages one way, from the server", MEBIBYTE, Conversation("fetch", "fetch", True), 1, 2**20),
    Cell("datagrams", "echo, UDP", DATAGRAM, Conversation("datagrams", "datagrams:echo"), 64, 1024, connected=False),
    Cell("flood", "a flood of UDP", DATAGRAM, Conversation("count", "datagrams:flood"), 8, 64, connected=False),
    Cell("http", "aiohttp's server, hello world", REQUEST, Conversation("http", "http"), 64, limited=False),
    Cell("fastapi", "FastAPI in uvicorn, hello world", REQUEST, Conversation("fastapi", "http"), 64, limited=False),
    Cell("askhttp", "aiohttp's client", ASKED, asking("askhttp", "http"), limited=False),
    Cell("askstreams", "streams of a client", ASKED, asking("askstreams", "echo"), limited=False),
)

INSIDE = (
    Cell(
        "callsoon",
        "call_soon, CPU ns per callback",
        (
            cpu("turn_ns", "own turn"),
            cpu("batch_ns", "of 1000"),
            cpu("args_ns", "of 1000, 2 args"),
            cpu("safe_ns", "threadsafe"),
        ),
        in_process("callsoon"),
    ),
    Cell(
        "timers",
        "call_later, CPU ns per timer",
        (cpu("cancel_ns", "set+cancel"), cpu("fire_ns", "set+fire"), cpu("spread_ns", "spread")),
        in_process("timers"),
    ),
    Cell(
        "tasks",
        "coroutines and tasks, CPU ns for each",
        (
            cpu("sleep_ns", "sleep(0)"),
            cpu("create_ns", "create_task"),
            cpu("gather_ns", "gather of 100"),
            cpu("timeout_ns", "timeout()"),
        ),
        in_process("tasks"),
    ),
    Cell(
        "threads",
        "other threads: time to wake the loop up, CPU of a round trip and of a literal's getaddrinfo",
        (
            Column("wake_us", "wake-up us", 1, compared=True),
            cpu("executor_us", "executor us", 1),
            cpu("literal_us", "literal us", 1),
        ),
        in_process("threads"),
    ),
    Cell(
        "spawn",
        "create_subprocess_exec of /bin/true, CPU of the loop's process",
        (cpu("spawn_us", "CPU us/child"),),
        in_process("spawn"),
    ),
    Cell(
        "pipes",
        "64 KiB chunks through a pipe, both ends on the loop",
        (cpu("pipe_us", "CPU us/MiB"),),
        in_process("pipes"),
    ),
    Cell(
        "sleeps",
        "how far from its moment call_later(200 us) runs, mean; and how much too early the earliest was",
        (Column("off_us", "off by us", 1, compared=True), Column("early_us", "early us", 1)),
        in_process("sleeps"),
    ),
)

AT_REST = (
    Cell("idle", "memory of idle connections", MEMORY, Idle("echo", "idle", growth), 10_000, 1024, rounds=2),
    Cell(
        "idletls",
        "memory of idle TLS connections",
        MEMORY,
        Idle("tls", "tls:idle", growth),
        10_000,
        1024,
        limited=False,
        rounds=1,
    ),
    Cell(
        "waiting",
        "an idle loop with 10,000 timers and as many connections",
        (Column("rest_us", "CPU us/s", 0),),
        Idle("waiting", "idle", rest),
        10_000,
        1024,
        rounds=2,
    ),
    Cell(
        "fairness",
        "a small echo while one peer floods the server, microseconds",
        (
            Column("flood_p99", "p99 flooded", 0, compared=True),
            Column("calm_p99", "p99 calm", 0, compared=True),
            Column("factor", "factor", 2),
            Column("mebibytes", "flood MiB/s", 0),
        ),
        fairness,
        size=64,
    ),
)


def awaited(key: str, heading: str, digits: int = 0) -> Column:
    return Column(key, heading, digits, compared=True, awaited=True)


def flooded(name: str, title: str, unit: str, measure: Flooded, limited: bool = False) -> Cell:
    columns = (
        awaited("p50", "ping p50 us"),
        awaited("p99", "ping p99 us"),
        awaited("flood_us", f"CPU us/{unit}", 2),
        Column("rate", f"{unit}/s", 0),
        Column("busy", "busy %", 0),
    )
    return Cell(name, f"a ping while {title}", columns, measure, limited=limited)


def first_byte(name: str, how: str, measure: FirstByte, limited: bool = True) -> Cell:
    columns = (
        awaited("first", "first us"),
        awaited("after_short", "after short us"),
        awaited("mean", "mean us"),
        awaited("p99", "p99 us"),
        Column("cpu_us", "CPU us/req", 0),
    )
    title = "a handler computes after each piece that it writes: how late the pieces arrive"
    return Cell(name, f"{title}; {how}", columns, measure, limited=limited)


BURST = (awaited("mean", "mean us"), awaited("p99", "p99 us"), Column("cpu_us", "CPU us/req", 1))
#: How long somebody waits for an answer.
WAITED_FOR = (
    *(
        Cell(
            f"burst-{connections}-{work}",
            f"requests at once, each {work} us of work: time to the answer",
            BURST,
            Burst(work),
            connections,
        )
        for connections in (32, 256)
        for work in (0, 50, 200)
    ),
    first_byte("firstbyte", "Protocol", FirstByte("tokens")),
    first_byte("firstbytestreams", "streams", FirstByte("tokenstreams")),
    first_byte("firstbyteownstreams", "the loop's own streams", FirstByte("tokenownstreams")),
    first_byte("firstbyteunix", "Protocol, Unix socket", FirstByte("tokenunix")),
    first_byte("firstbytetls", "Protocol over TLS", FirstByte("tokentls", tls=True), limited=False),
    flooded("connflood", "others connect and reset", "conn", Flooded("connflood", "connections"), limited=True),
    flooded("dgramflood", "datagrams pour in", "dgram", Flooded("dgramflood", "datagrams"), limited=True),
    flooded("handshakeflood", "others shake hands", "handshake", Flooded("handshakeflood", "handshakes", tls=True)),
    flooded("threadflood", "two threads call call_soon_threadsafe", "call", Flooded("threadflood", crowded=True)),
    flooded("signalflood", "signals arrive", "signal", Flooded("signalflood", "signals")),
    flooded("timerflood", "5,000 timers are due each millisecond", "timer", Flooded("timerflood")),
    flooded("childflood", "children are started and end", "child", Flooded("childflood", crowded=True)),
    flooded("sendfileflood", "sendfile to a peer goes on and on", "MiB", Flooded("sendfileflood", "bytes")),
    Cell(
        "coldstart",
        "from the start of the process to the first answer",
        (awaited("ms", "ms", 1), awaited("cpu_ms", "CPU ms", 1)),
        coldstart,
        connected=False,
    ),
)

CELLS: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        *FAMILIES,
        *(variant for family in FAMILIES for variant in variants(family)),
        *OVER_CONNECTIONS,
        *(replace(cell, limited=False, connected=False) for cell in INSIDE),
        *AT_REST,
        *WAITED_FOR,
    )
}
