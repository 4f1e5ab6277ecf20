"""A thousand clients that do nothing, or hardly anything, and what the limits of a server do about them.

    python examples/slow_clients.py                                # each attack without limits and with them: a table
    python examples/slow_clients.py --attack slowloris --seconds 60 --pause 10

A server in a process of its own, which may have 512 descriptors, gives each client as many bytes as it asks for. From 100
addresses of the loopback interface, 1,000 clients attack it; one that is ended comes again. An honest client, which has an
address of its own, asks for a page five times a second meanwhile.

    silent       connects and says nothing
    slowloris    sends a byte of its request now and then, and never the last one
    slow-reader  asks for a lot, and reads a little now and then
    flood        connects, asks for a page, and connects again at once
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import socket
import statistics
import sys
import time
from pathlib import Path
from typing import Any, cast

import edgeloop

DESCRIPTORS = 512  # that the server may have
LIMITS: dict[str, Any] = {
    "max_connections": 400,  # then the others wait in the kernel: below the number of descriptors
    "max_connections_per_peer": 3,
    "first_byte_timeout": 1.0,
    "idle_timeout": 5.0,
    "write_timeout": 2.0,
    "max_lifetime": 5.0,  # no honest conversation with this server takes longer
}
SETS: dict[str, dict[str, Any]] = {
    "none": {},
    "all but per peer": {name: value for name, value in LIMITS.items() if name != "max_connections_per_peer"},
    "all": LIMITS,
}
PAGE, LARGE_PAGE = 1000, 1 << 18  # bytes that honest clients and slow readers ask for
PATIENCE = 5.0  # seconds that the honest client waits for its page


# The server


class Blocks(asyncio.Protocol):
    """One connection: a line with a number is answered with as many bytes."""

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.transport.write(bytes(min(int(line), LARGE_PAGE)))

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def serve(limits: dict[str, Any]) -> None:
    """Serve until SIGTERM; print the address, and then the server's status again and again."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, edgeloop.EventLoop)  # limits and status() are its own
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.set_exception_handler(lambda loop, context: None)  # it would report each want of a descriptor
    # A connection has the listener's buffer. Without a bound the kernel takes a megabyte from who doesn't read, and what
    # the kernel has taken has left, for write_timeout.
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
    server = await loop.create_server(Blocks, sock=listener, backlog=1024, **limits)
    print(json.dumps(server.sockets[0].getsockname()), flush=True)
    while not stop.is_set():
        print(json.dumps(server.status()._asdict()), flush=True)
        try:
            await asyncio.wait_for(stop.wait(), 0.1)
        except TimeoutError:
            pass
    server.close()
    server.abort_clients()


class ServerProcess:
    """The server, and what it says of itself."""

    def __init__(self, process: asyncio.subprocess.Process, address: tuple[str, int]) -> None:
        self.process = process
        self.address = address
        self.status: dict[str, Any] = {}
        self.most_descriptors = 0
        self.most_memory = 0  # bytes
        self.following = asyncio.create_task(self.follow())

    @classmethod
    async def start(cls, limits: dict[str, Any]) -> ServerProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--serve", json.dumps(limits), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        host, port = json.loads(await process.stdout.readline())
        return cls(process, (host, port))

    async def follow(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.status = json.loads(line)
            about = Path(f"/proc/{self.process.pid}")
            try:
                self.most_descriptors = max(self.most_descriptors, sum(1 for _ in (about / "fd").iterdir()))
                pages = int((about / "statm").read_text().split()[1])
            except (OSError, IndexError):
                return  # it has ended
            self.most_memory = max(self.most_memory, pages * resource.getpagesize())

    async def end(self) -> None:
        self.process.terminate()
        await self.process.wait()
        await self.following


# The clients


async def attack(kind: str, server: tuple[str, int], source: str, pause: float) -> None:
    """One client that comes again whenever it is ended."""
    loop = asyncio.get_running_loop()
    while True:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with sock:
            try:
                sock.bind((source, 0))
                await loop.sock_connect(sock, server)
                await ATTACK[kind](sock, pause)
            except OSError:
                pass  # the server has had enough
        if kind != "flood":
            await asyncio.sleep(0.2)


async def silent(sock: socket.socket, pause: float) -> None:
    await asyncio.get_running_loop().sock_recv(sock, 1)


async def slowloris(sock: socket.socket, pause: float) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(sock, b"1")
        await asyncio.sleep(pause)


async def slow_reader(sock: socket.socket, pause: float) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"%d\n" % LARGE_PAGE)
    while await loop.sock_recv(sock, 100):
        await asyncio.sleep(pause)


async def flood(sock: socket.socket, pause: float) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"%d\n" % PAGE)
    await loop.sock_recv(sock, PAGE)


ATTACK = {"silent": silent, "slowloris": slowloris, "slow-reader": slow_reader, "flood": flood}


def ask(address: tuple[str, int]) -> None:
    """In a process of its own: ask for a page now and then, and print the seconds until it was there, or null."""
    while True:
        began = time.perf_counter()
        try:
            with socket.create_connection(address, PATIENCE, source_address=("127.0.0.1", 0)) as sock:
                sock.sendall(b"%d\n" % PAGE)
                answered = len(sock.makefile("rb").read(PAGE)) == PAGE
        except OSError:
            answered = False
        print(json.dumps(time.perf_counter() - began if answered else None), flush=True)
        time.sleep(0.2)


async def honest(server: tuple[str, int], times: list[float | None]) -> None:
    """Have that process ask until this task is cancelled. ``times`` gets what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--ask", json.dumps(server), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            times.append(json.loads(line))
    finally:
        process.kill()
        await process.wait()


# What comes of it


async def measured(kind: str, limits: str, clients: int, seconds: float, pause: float) -> dict[str, Any]:
    """Let the clients attack a server with these limits for some time. Return what the honest one saw, and the server."""
    server = await ServerProcess.start(SETS[limits])
    times: list[float | None] = []
    tasks = [
        asyncio.create_task(attack(kind, server.address, f"127.0.1.{1 + number % 100}", pause))
        for number in range(clients)
    ]
    await asyncio.sleep(seconds / 4)
    tasks.append(asyncio.create_task(honest(server.address, times)))
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.end()
    answered = [taken for taken in times if taken is not None]
    return {
        "attack": kind,
        "limits": limits,
        "asked": len(times),
        "answered": len(answered),
        "median_ms": statistics.median(answered) * 1000 if answered else None,
        "worst_ms": max(answered) * 1000 if answered else None,
        "descriptors": server.most_descriptors,
        "memory": server.most_memory,
        "status": server.status,
    }


def row(found: dict[str, Any]) -> str:
    def milliseconds(key: str) -> str:
        return "never" if found[key] is None else f"{found[key]:,.1f}"

    status = found["status"]
    ended = [f"{count:,} {kind.replace('_', ' ')}" for kind, count in status["timed_out"].items() if count]
    cells = [
        found["attack"],
        found["limits"],
        f"{found['answered']} of {found['asked']}",
        milliseconds("median_ms"),
        milliseconds("worst_ms"),
        str(found["descriptors"]),
        f"{found['memory'] / 2**20:,.0f}",
        f"{status['high_mark']:,}",
        f"{status['refused']:,}",
        ", ".join(ended) or "none",
    ]
    return "| " + " | ".join(cells) + " |"


async def main(attacks: list[str], clients: int, seconds: float, pause: float) -> None:
    columns = (
        "attack",
        "limits",
        "honest: answered",
        "median ms",
        "worst ms",
        "descriptors",
        "MiB",
        "most open",
        "refused",
    )
    print(f"| {' | '.join(columns)} | timed out |\n| --- | --- |{' ---: |' * 7} --- |", flush=True)
    for kind in attacks:
        for limits in SETS:
            print(row(await measured(kind, limits, clients, seconds, pause)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attack", choices=list(ATTACK), action="append", help="may be repeated (default: each)")
    parser.add_argument("--clients", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each row (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two bytes (default: %(default)s)")
    parser.add_argument("--serve", type=json.loads, help=argparse.SUPPRESS)  # the server's process, and its limits
    parser.add_argument(
        "--ask", type=json.loads, help=argparse.SUPPRESS
    )  # the honest client's process, and the address
    arguments = parser.parse_args()
    if arguments.ask is not None:
        ask(tuple(arguments.ask))
    elif arguments.serve is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        edgeloop.run(serve(arguments.serve))
    else:
        edgeloop.run(main(arguments.attack or list(ATTACK), arguments.clients, arguments.seconds, arguments.pause))
