"""No cell of the benchmarks takes more system calls than the server in C, and one epoll_wait for each turn.

The benchmarks' own servers are asked the same things by the same client, with strace looking on. Where one of ours has more
to do than the server in C, the test says what and why.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from kernel_truth import measured, needs_own_allocator, needs_strace
from traced_servers import connected, receive, traced

import edgeloop
from benchmarks.listening import CERTIFICATE
from benchmarks.loops import LIMIT
from benchmarks.machine import Cores
from benchmarks.processes import Bench, compiled

pytestmark = [
    pytest.mark.edgeloop_only,
    pytest.mark.fair_weather,
    needs_strace,
    needs_own_allocator,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="the server in C needs gcc"),
]
only_compiled = pytest.mark.skipif(
    edgeloop.EDITION == "pure", reason="Python's socket module calls more than it has to"
)

OURS = "edgeloop" if edgeloop.EDITION == "compiled" else "edgeloop-pure"
CLIENTS, ROUNDS = 4, 50
REQUESTS = CLIENTS * ROUNDS
BURST = 128  # datagrams; what waits at one time has to fit into the socket
SLACK = REQUESTS // 20  # a message that arrives in two pieces, memory now and then

READS = ("read", "readv", "recvfrom", "recvmsg", "recvmmsg")
WRITES = ("write", "writev", "sendto", "sendmsg", "sendmmsg")
WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    cpus = sorted(os.sched_getaffinity(0))
    with compiled() as programs:
        yield Bench(programs, Cores(server=cpus[0], load=cpus[-1]))


def together(calls: Counter[str], names: tuple[str, ...]) -> int:
    return sum(calls[name] for name in names)


# PyPy's collector asks the kernel for memory, and gives it back, while it serves.
MEMORY = ("brk", "madvise", "mmap", "munmap") if sys.implementation.name == "pypy" else ()


def others(calls: Counter[str]) -> Counter[str]:
    """What is neither a read nor a write nor a wait."""
    known = (*READS, *WRITES, *WAITS, *MEMORY)
    return Counter({name: count for name, count in calls.items() if name not in known})


def conversation(bench: Bench, service: str, loop: str, request: int, reply: int) -> Counter[str]:
    """What REQUESTS take on connections that are there already."""
    tls = service.startswith("tls")
    # The services that go by a message's length take that of the longer direction.
    with traced(bench, service, loop, max(request, reply)) as server, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connected(server.address, tls)) for _ in range(CLIENTS)]

        def talk(rounds: int = ROUNDS) -> None:
            for _ in range(rounds):
                for sock in socks:
                    sock.sendall(bytes(request))
                for sock in socks:
                    receive(sock, reply)

        talk(5)  # handshakes, and what is done once
        return server.calls(talk)


@measured
@pytest.mark.parametrize(
    ("service", "request_size", "reply_size"),
    [
        ("echo", 1024, 1024),
        ("buffered", 1024, 1024),
        ("streams", 1024, 1024),
        ("ownstreams", 1024, 1024),
        ("sock", 1024, 1024),
        ("twowrites", 1024, 1024),
        ("unix", 1024, 1024),
        ("sink", 16384, 1),
        ("fetch", 8, 16384),
    ],
)
def test_a_request(bench: Bench, service: str, request_size: int, reply_size: int) -> None:
    limit = conversation(bench, service, LIMIT, request_size, reply_size)
    ours = conversation(bench, service, OURS, request_size, reply_size)
    assert together(ours, READS) <= together(limit, READS) + SLACK
    assert together(ours, WRITES) <= together(limit, WRITES) + SLACK
    assert together(ours, WAITS) <= REQUESTS + SLACK  # a turn for each request, if no two of them arrive together
    assert others(ours).total() <= others(limit).total() + SLACK


@measured
@pytest.mark.parametrize("service", ["tls", "tlsstreams", "tlsownstreams"])
def test_a_request_over_tls(bench: Bench, service: str) -> None:
    """There is no such server in C: one read and one write each, as without TLS."""
    if not (bench.programs / CERTIFICATE).exists():
        pytest.skip("the program openssl makes the certificate")
    calls = conversation(bench, service, OURS, 1024, 1024)
    assert together(calls, READS) <= REQUESTS + SLACK
    assert together(calls, WRITES) <= REQUESTS + SLACK
    assert together(calls, WAITS) <= REQUESTS + SLACK
    assert others(calls).total() <= SLACK


@only_compiled
@measured
def test_a_connection_that_comes_and_goes(bench: Bench) -> None:
    """Connect, echo one byte, close."""
    connections = 50

    def calls(loop: str) -> Counter[str]:
        with traced(bench, "echo", loop, 1) as server:

            def knock(times: int = connections) -> None:
                for _ in range(times):
                    with connected(server.address) as sock:
                        sock.sendall(b"x")
                        receive(sock, 1)

            knock(5)
            return server.calls(knock)

    ours, limit = calls(OURS), calls(LIMIT)
    allowed = Counter(limit)
    # DEL before the close, because a child forked meanwhile may have the connection too, and events for it would go on
    # (docs/edges.md, rule 1). The server in C never forks.
    allowed["epoll_ctl"] += connections
    # As on asyncio, the transport still knows its own address when the connection is over; who asked before pays nothing.
    allowed["getsockname"] += connections
    # Inherited from the listening socket.
    allowed["setsockopt"] -= connections
    # The connection, its byte and its end: how many of them one wait brings is up to the client.
    assert together(ours, WAITS) <= 3 * connections + SLACK
    for name in WAITS:
        del ours[name]
    assert (ours - allowed).total() <= SLACK


def datagrams(bench: Bench, service: str, loop: str, replies: bool) -> Counter[str]:
    """What ROUNDS of CLIENTS datagrams take, or a burst without replies, that each find the server asleep."""
    with traced(bench, service, loop, 1) as server, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(CLIENTS)]
        for sock in socks:
            sock.settimeout(30)
            sock.connect(("127.0.0.1", int(server.address)))

        def talk() -> None:
            for _ in range(ROUNDS):
                for sock in socks:
                    sock.send(bytes(1024))
                for sock in socks:
                    sock.recv(2048)

        def flood() -> None:
            with server.stopped():
                for _ in range(BURST // CLIENTS):
                    for sock in socks:
                        sock.send(b"x")

        return server.calls(talk if replies else flood)


@only_compiled
@measured
def test_a_datagram_and_its_echo(bench: Bench) -> None:
    ours = datagrams(bench, "datagrams", OURS, replies=True)
    limit = datagrams(bench, "datagrams", LIMIT, replies=True)
    # What is read together is answered together. How many those are is not the same in two runs.
    assert together(ours, READS) <= REQUESTS + SLACK
    assert together(ours, WRITES) <= together(ours, READS) + SLACK
    assert together(limit, WRITES) <= together(limit, READS) + SLACK
    assert together(ours, WAITS) <= together(ours, READS) + SLACK
    assert others(ours).total() <= others(limit).total() + SLACK


@only_compiled
@measured
def test_a_flood_of_datagrams(bench: Bench) -> None:
    ours = datagrams(bench, "count", OURS, replies=False)
    limit = datagrams(bench, "count", LIMIT, replies=False)
    assert together(ours, READS) <= together(limit, READS)
    assert together(ours, WAITS) <= together(ours, READS) + 2
    del ours["brk"], limit["brk"]  # the heap grows when it happens to be full
    assert others(ours).total() <= others(limit).total()
