"""What a connection costs when there are many: ``python -m benchmarks.crowd``.

For each loop and number a server process, and a client process with as many plain sockets on loopback. A row is the cost of
one connection: CPU time to accept it, memory of the server's (resident) and of the kernel's (slabs of both ends), a message
there and back on 64 of them while the others are idle, a broadcast to all. ``idle`` is how often the kernel gave the
server a CPU in a second in which nobody said anything: 0 means no system call was made.

``--processes N``: so many servers, with a client process each, at the same time, and the sum of what they hold.
``--peers``: in the environment of the comparison, which has every loop that can be installed (peers.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.loops import LOOPS, UnavailableError, environment, factory_or_exit
from benchmarks.machine import raise_descriptor_limit
from benchmarks.server import die_with_parent

SPARE = 200  # descriptors for all but the connections
IDLE_SECONDS = 1.0
ASKING = 64
ROUNDS = 50
MESSAGE = b"x" * 100
#: The kernel's objects for a connection, as /proc/slabinfo calls them: of the socket, of its file, of epoll.
SLABS = ("TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq", "tcp_bind_bucket")


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    def __init__(self, connections: set[Echo]) -> None:
        self.connections = connections
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve() -> None:
    """Say the port, then answer each line on standard input with a line of JSON."""
    loop = asyncio.get_running_loop()
    connections: set[Echo] = set()
    server = await loop.create_server(lambda: Echo(connections), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = loop.create_future()

    def on_line() -> None:
        line = sys.stdin.readline().strip()
        if line == "broadcast":
            for connection in connections:
                connection.transport.write(MESSAGE)
        elif not line:
            loop.remove_reader(sys.stdin.fileno())
            ended.set_result(None)
            return
        print(json.dumps({"connections": len(connections), "cpu": time.process_time(), "kib": resident()}), flush=True)

    loop.add_reader(sys.stdin.fileno(), on_line)
    await ended
    server.close()
    for connection in list(connections):
        connection.transport.abort()


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1024


def slabs() -> float | None:
    """Bytes of the kernel's objects for connections; None where only root may look."""
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()[2:]
    except PermissionError:
        return None
    found = (line.split() for line in lines)
    return float(sum(int(words[1]) * int(words[3]) for words in found if words[0] in SLABS))


def given_a_cpu(pid: int) -> int:
    """How often the kernel let a thread of the process run (the third figure of /proc/PID/schedstat)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[2]) for task in tasks)


class Crowd:
    """The client's end of a row: plain sockets, all of them non-blocking."""

    def __init__(self, name: str, count: int) -> None:
        self.count = count
        self.socks: list[socket.socket] = []
        self.server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crowd", "--serve", name],
            env=environment(name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.address = ("127.0.0.1", int(self._line()))
        except ValueError:
            self.server.wait()
            raise RuntimeError(f"{name} could not be started") from None

    def _line(self) -> str:
        assert self.server.stdout is not None
        return self.server.stdout.readline()

    def ask(self, command: str = "state") -> dict[str, float]:
        assert self.server.stdin is not None
        self.server.stdin.write(command + "\n")
        self.server.stdin.flush()
        found: dict[str, float] = json.loads(self._line())
        return found

    def connect(self) -> None:
        """Connect all, and wait until the server has them.

        It is stopped while a thousand come, fewer than the backlog takes: so it always finds as many, whoever is faster.
        """
        while len(self.socks) < self.count:
            self.server.send_signal(signal.SIGSTOP)
            for _ in range(min(1000, self.count - len(self.socks))):
                sock = socket.create_connection(self.address)
                sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # its port is free at once
                sock.setblocking(False)
                self.socks.append(sock)
            self.server.send_signal(signal.SIGCONT)
            while self.ask()["connections"] < len(self.socks):
                time.sleep(0.01)

    def exchange(self, socks: list[socket.socket], rounds: int) -> None:
        poll = select.epoll()
        by_number = {sock.fileno(): sock for sock in socks}
        for sock in socks:
            poll.register(sock, select.EPOLLIN)
        for _ in range(rounds):
            for sock in socks:
                sock.send(MESSAGE)
            self._receive(poll, by_number)
        poll.close()

    def broadcast(self) -> dict[str, float]:
        poll = select.epoll()
        by_number = {sock.fileno(): sock for sock in self.socks}
        for sock in self.socks:
            poll.register(sock, select.EPOLLIN)
        answer = self.ask("broadcast")
        self._receive(poll, by_number)
        poll.close()
        return answer

    def _receive(self, poll: select.epoll, by_number: dict[int, socket.socket]) -> None:
        left = len(by_number)
        while left:
            for number, _ in poll.poll():
                if by_number[number].recv(1000) != MESSAGE:
                    raise RuntimeError("a wrong answer")
                left -= 1

    def close(self) -> None:
        for sock in self.socks:
            sock.close()
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(60)


def row(name: str, count: int) -> dict[str, float]:
    """One server with so many connections: see the module's text."""
    crowd = Crowd(name, count)
    try:
        before, kernel_before = crowd.ask(), slabs()
        crowd.connect()
        full, kernel_full = crowd.ask(), slabs()
        time.sleep(0.5)  # until the turn that has answered is over
        runs = given_a_cpu(crowd.server.pid)
        time.sleep(IDLE_SECONDS)
        runs = given_a_cpu(crowd.server.pid) - runs
        start = crowd.ask()
        crowd.exchange(crowd.socks[:: max(1, count // ASKING)][:ASKING], ROUNDS)
        asked = crowd.ask()
        sent = crowd.broadcast()
    finally:
        crowd.close()
    kernel = 0.0 if kernel_before is None or kernel_full is None else (kernel_full - kernel_before) / 1024
    return {
        "connections": count,
        "accept": (full["cpu"] - before["cpu"]) / count * 1e6,
        "memory": (full["kib"] - before["kib"]) / count,
        "kernel": kernel / count,
        "idle": runs,
        "echo": (asked["cpu"] - start["cpu"]) / (ASKING * ROUNDS) * 1e6,
        "broadcast": (sent["cpu"] - asked["cpu"]) / count * 1e6,
    }


HEADINGS = {
    "accept": "accept, CPU us",
    "memory": "server KiB",
    "kernel": "kernel KiB",
    "idle": "idle",
    "echo": "echo, CPU us",
    "broadcast": "broadcast, CPU us",
}


def table(rows: list[tuple[str, dict[str, float]]]) -> str:
    lines = [
        "| loop | connections | " + " | ".join(HEADINGS.values()) + " |",
        "| --- | ---: |" + " ---: |" * len(HEADINGS),
    ]
    for name, figures in rows:
        cells = [f"{figures[key]:.0f}" if key == "idle" else f"{figures[key]:.2f}" for key in HEADINGS]
        lines.append(f"| {name} | {figures['connections']:,.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def together(name: str, count: int, processes: int) -> None:
    """So many servers at once, each with a client process: what they and the kernel hold in all."""

    def one(_: int) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.crowd", "--loops", name, "--connections", str(count), "--json"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found: dict[str, float] = json.loads(output)[0][1]
        return found

    highest = {"used": 0, "mem": 0, "slabs": 0.0}
    slabs_before = slabs()
    with ThreadPoolExecutor(processes) as pool:
        running = [pool.submit(one, number) for number in range(processes)]
        while not all(future.done() for future in running):
            for line in Path("/proc/net/sockstat").read_text().splitlines():
                words = line.split()
                if words[0] == "sockets:":
                    highest["used"] = max(highest["used"], int(words[2]))
                elif words[0] == "TCP:":
                    highest["mem"] = max(highest["mem"], int(words[-1]))
            highest["slabs"] = max(highest["slabs"], slabs() or 0.0)
            time.sleep(0.2)
        rows = [(name, future.result()) for future in running]
    print(table(rows))
    print(f"{processes * count:,} connections; sockets at the most: {highest['used']:,} (both ends),", end=" ")
    print(f"their buffers: {highest['mem'] * resource.getpagesize() / 1024:,.0f} KiB (/proc/net/sockstat),", end=" ")
    kernel = (highest["slabs"] - (slabs_before or 0.0)) / 1024 / (processes * count)
    print(f"the kernel's slabs: {kernel:.2f} KiB for a connection", flush=True)


def available(name: str) -> bool:
    """Whether the loop is installed; says why not."""
    try:
        LOOPS[name].version()
    except UnavailableError as reason:
        print(f"{name}: {reason}", file=sys.stderr)
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", default="edgeloop,asyncio,uvloop")
    parser.add_argument("--connections", default="1000,5000,19000")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--peers", action="store_true", help="first make an environment with every loop, and run in it")
    parser.add_argument("--json", action="store_true", help="the figures and not the table")
    parser.add_argument("--serve", metavar="LOOP", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peers:
        from benchmarks import peers  # not there in the environment that it makes

        peers.run_with_peers([argument for argument in sys.argv[1:] if argument != "--peers"], "benchmarks.crowd")
    numbers = [int(number) for number in chosen.connections.split(",")]
    raise_descriptor_limit(max(numbers) + SPARE if not chosen.serve else resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    if chosen.serve:
        die_with_parent()
        with asyncio.Runner(loop_factory=factory_or_exit(chosen.serve)) as runner:
            runner.run(serve())
        return
    names = [name for name in chosen.loops.split(",") if available(name)]
    if chosen.processes > 1:
        for name in names:
            together(name, numbers[0], chosen.processes)
        return
    rows = []
    for number in numbers:
        for name in names:
            rows.append((name, row(name, number)))
            if not chosen.json:
                print(table(rows[-1:]).splitlines()[-1] if len(rows) > 1 else table(rows), flush=True)
    if chosen.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
