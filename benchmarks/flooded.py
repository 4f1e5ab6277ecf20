"""Services that something floods, while a ping on another connection wants an answer, for floods.c.

Each prints the port of the pings and the one to flood, 0 where the server floods itself. A ping is sent back with the
amount of the flood that the server has dealt with in its first eight bytes.

    connflood       counts connections
    handshakeflood  counts TLS connections, and echoes
    dgramflood      counts datagrams
    signalflood     counts how often its handler of SIGUSR1 ran
    sendfileflood   sends a file of 256 MiB with sendfile to the one who connects, again and again; in chunks where the
                    loop has no sendfile
    threadflood     two threads call call_soon_threadsafe as fast as they can, with at most 1,000 calls pending each
    timerflood      5,000 timers, each set again for 1 ms when it has run
    childflood      four children at a time that end at once
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks import datagrams
from benchmarks.computing import NUMBER, Answering
from benchmarks.listening import background, listen, server_context

THREADS = 2
PENDING = 1000
REST = 100e-6
TIMERS = 5000
PERIOD = 0.001
CHILDREN = 4
FILE = 256 * 2**20
CHUNK = 256 * 1024


class Flood:
    """How much of it has been dealt with. Only the loop's thread counts."""

    amount = 0


class Ping(Answering):
    def data_received(self, data: bytes) -> None:
        self.transport.write(Flood.amount.to_bytes(NUMBER, "little") + data[NUMBER:])


class Connected(Ping):
    """Whoever connects belongs to the flood: the ping is there before it is counted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        Flood.amount += 1


class Greeting(Answering):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        Flood.amount += 1

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Datagrams(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        Flood.amount += 1


def count() -> None:
    Flood.amount += 1


async def serve_connections(size: int, folder: Path) -> str:
    port = await listen(Connected)
    return f"{port} {port}"


async def serve_handshakes(size: int, folder: Path) -> str:
    return f"{await listen(Ping)} {await listen(Greeting, server_context(folder))}"


async def serve_datagrams(size: int, folder: Path) -> str:
    return f"{await listen(Ping)} {await datagrams.answer(Datagrams)}"


async def serve_signals(size: int, folder: Path) -> str:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, count)
    return f"{await listen(Ping)} 0"


class Sending(Answering):
    """To the one peer that connects. ``writable`` is cleared while it takes nothing."""

    def __init__(self, connected: asyncio.Future[Sending]) -> None:
        self.connected = connected
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connected.set_result(self)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    async def send(self, file: BinaryIO) -> None:
        try:
            await asyncio.get_running_loop().sendfile(self.transport, file)
        except NotImplementedError:  # as web servers do it then
            while chunk := file.read(CHUNK):
                self.transport.write(chunk)
                await asyncio.sleep(0)
                await self.writable.wait()


async def serve_bytes(size: int, folder: Path) -> str:
    path = folder / "file"
    with path.open("wb") as empty:
        empty.truncate(FILE)
    with path.open("rb") as file:  # into the page cache, which the first peer would pay for otherwise
        while file.read(CHUNK):
            pass
    connected: asyncio.Future[Sending] = asyncio.get_running_loop().create_future()

    async def repeat() -> None:
        peer = await connected
        with path.open("rb") as file:
            while True:
                file.seek(0)
                await peer.send(file)

    background.append(asyncio.get_running_loop().create_task(repeat()))
    return f"{await listen(Ping)} {await listen(lambda: Sending(connected))}"


async def serve_threads(size: int, folder: Path) -> str:
    loop = asyncio.get_running_loop()

    def call() -> None:
        called = 0
        ran = [0]

        def run() -> None:
            Flood.amount += 1
            ran[0] += 1

        while True:
            if called - ran[0] < PENDING:
                loop.call_soon_threadsafe(run)
                called += 1
            else:
                time.sleep(REST)

    ports = f"{await listen(Ping)} 0"
    for _ in range(THREADS):
        threading.Thread(target=call, daemon=True).start()
    return ports


async def serve_timers(size: int, folder: Path) -> str:
    call_later = asyncio.get_running_loop().call_later

    def ring() -> None:
        Flood.amount += 1
        call_later(PERIOD, ring)

    for _ in range(TIMERS):
        call_later(PERIOD, ring)
    return f"{await listen(Ping)} 0"


async def serve_children(size: int, folder: Path) -> str:
    async def repeat() -> None:
        while True:
            process = await asyncio.create_subprocess_exec("/bin/true")
            await process.wait()
            Flood.amount += 1

    background.extend(asyncio.get_running_loop().create_task(repeat()) for _ in range(CHILDREN))
    return f"{await listen(Ping)} 0"


SERVICES: dict[str, Callable[[int, Path], Awaitable[int | str]]] = {
    "connflood": serve_connections,
    "handshakeflood": serve_handshakes,
    "dgramflood": serve_datagrams,
    "signalflood": serve_signals,
    "sendfileflood": serve_bytes,
    "threadflood": serve_threads,
    "timerflood": serve_timers,
    "childflood": serve_children,
}
