"""What a soak run does: each coroutine function is one piece of work, done again and again, several at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tls_certificates import client_context, server_context

PAUSE = 0.02  # seconds between two pieces of the same work: the loop is to be busy, not late


class Echo(asyncio.Protocol):
    """Sends back what it gets, no faster than it is taken."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class Soak:
    """The servers that all work talks to, and what is counted. Everything is on one loop."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.over = False
        self.done: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.note_latency: Callable[[float, float], None] = lambda seconds, processor: None
        self.client = client_context()
        self.signals = 0

    def fault(self, text: str) -> None:
        """Count what must not be."""
        if len(self.faults) < 1000:
            self.faults[text] += 1

    def check(self, right: bool, text: str) -> None:
        if not right:
            self.fault(text)

    async def begin(self) -> None:
        loop = asyncio.get_running_loop()
        self.plain = await loop.create_server(Echo, "127.0.0.1", 0, backlog=1000)
        self.secure = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context(), backlog=1000)
        self.datagrams, _ = await loop.create_datagram_endpoint(DatagramEcho, ("127.0.0.1", 0))
        loop.add_signal_handler(signal.SIGUSR1, self.on_signal)

    def on_signal(self) -> None:
        self.signals += 1

    async def end(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
        self.datagrams.close()
        for server in (self.plain, self.secure):
            server.close()
            await server.wait_closed()

    def address(self, *, secure: bool = False) -> Any:
        return (self.secure if secure else self.plain).sockets[0].getsockname()

    async def connect(self, *, secure: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not secure:
            return await asyncio.open_connection(*self.address())
        return await asyncio.open_connection(*self.address(secure=True), ssl=self.client, server_hostname="localhost")


def reset(writer: asyncio.StreamWriter) -> None:
    """End with RST: SO_LINGER of 0 seconds, socket(7)."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


async def exchange(soak: Soak, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    data = soak.draw.randbytes(size)
    writer.write(data)
    soak.check(await reader.readexactly(size) == data, "a wrong answer")


async def ask(soak: Soak) -> None:
    """A thousand questions on one connection, and how long each takes."""
    reader, writer = await soak.connect()
    for _ in range(1000):
        if soak.over:
            break
        begin, processor = time.monotonic(), time.process_time()
        await exchange(soak, reader, writer, 100)
        soak.note_latency(time.monotonic() - begin, time.process_time() - processor)
        await asyncio.sleep(PAUSE)
    await close(writer)


async def churn(soak: Soak) -> None:
    """Come, ask, go: in order, at once, by a reset, or with half of the answer unread."""
    reader, writer = await soak.connect()
    end = soak.draw.randrange(4)
    if end == 3:
        writer.write(bytes(200_000))
        await reader.read(1000)
        writer.transport.abort()
    else:
        await exchange(soak, reader, writer, soak.draw.choice([1, 100, 5000]))
    if end == 1:
        reset(writer)
    elif end == 2:
        writer.transport.abort()
    await close(writer)
    await asyncio.sleep(PAUSE)


async def churn_tls(soak: Soak) -> None:
    reader, writer = await soak.connect(secure=True)
    for _ in range(soak.draw.randrange(1, 5)):
        await exchange(soak, reader, writer, soak.draw.choice([1, 1000, 50_000]))
    end = soak.draw.randrange(3)
    if end == 0:
        reset(writer)
    elif end == 1:
        writer.transport.abort()
    await close(writer)
    await asyncio.sleep(5 * PAUSE)


async def break_tls(soak: Soak) -> None:
    """Something that is no handshake, or half of one."""
    _, writer = await asyncio.open_connection(*soak.address(secure=True))
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        soak.client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    writer.write(soak.draw.choice([b"GET / HTTP/1.0\r\n\r\n", hello[:50], hello, hello + b"garbage" * 10]))
    with contextlib.suppress(OSError):
        await writer.drain()
    if soak.draw.randrange(2):
        reset(writer)
    await close(writer)
    await asyncio.sleep(5 * PAUSE)


async def flood(soak: Soak) -> None:
    """A megabyte there and back, as fast as it goes, with and without TLS."""
    reader, writer = await soak.connect(secure=soak.draw.randrange(4) == 0)
    data = bytes(65536)

    async def send() -> None:
        for _ in range(16):
            writer.write(data)
            await writer.drain()

    _, back = await asyncio.gather(send(), reader.readexactly(16 * len(data)))
    soak.check(len(back) == 16 * len(data), "a flood that lost something")
    await close(writer)
    await asyncio.sleep(25 * PAUSE)


async def run_child(soak: Soak) -> None:
    """It echoes and ends, or is killed, or stopped and continued."""
    child = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    how = soak.draw.randrange(3)
    if how == 0:
        child.kill()
        await child.communicate()
        soak.check(child.returncode == -signal.SIGKILL, "a killed child")
    else:
        if how == 1:
            child.send_signal(signal.SIGSTOP)
            asyncio.get_running_loop().call_later(0.02, child.send_signal, signal.SIGCONT)
        data = soak.draw.randbytes(10_000)
        output, _ = await child.communicate(data)
        soak.check(output == data and child.returncode == 0, "a child's output")
    await asyncio.sleep(10 * PAUSE)


async def send_datagrams(soak: Soak) -> None:
    """A few at a time; what the kernel drops is no fault."""

    class Count(asyncio.DatagramProtocol):
        received = 0

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.received += 1

    loop = asyncio.get_running_loop()
    remote = soak.datagrams.get_extra_info("sockname")
    transport, protocol = await loop.create_datagram_endpoint(Count, remote_addr=remote)
    for _ in range(10):
        transport.sendto(soak.draw.randbytes(200))
    await asyncio.sleep(5 * PAUSE)
    soak.check(protocol.received <= 10, "a datagram too many")
    transport.close()


async def set_timers(soak: Soak) -> None:
    """A thousand, most of them cancelled; a task that sleeps and is cancelled; a wait that times out."""
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(soak.draw.random(), len, ()) for _ in range(1000)]
    sleeping = [asyncio.create_task(asyncio.sleep(100)) for _ in range(50)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PAUSE):
            await asyncio.sleep(100)
    for timer in timers[::2] + timers[1::4]:
        timer.cancel()
    for task in sleeping:
        task.cancel()
    await asyncio.gather(*sleeping, return_exceptions=True)
    await asyncio.sleep(10 * PAUSE)


async def use_threads(soak: Soak) -> None:
    loop = asyncio.get_running_loop()
    called = loop.create_future()
    await loop.run_in_executor(None, loop.call_soon_threadsafe, called.set_result, None)
    await called
    await asyncio.sleep(5 * PAUSE)


async def send_signal(soak: Soak) -> None:
    before = soak.signals
    os.kill(os.getpid(), signal.SIGUSR1)
    while soak.signals == before:
        await asyncio.sleep(0.001)
    await asyncio.sleep(10 * PAUSE)


#: What is done, and by how many at a time.
WORK: list[tuple[Callable[[Soak], Awaitable[None]], int]] = [
    (ask, 20),
    (churn, 6),
    (churn_tls, 3),
    (break_tls, 2),
    (flood, 2),
    (run_child, 2),
    (send_datagrams, 2),
    (set_timers, 2),
    (use_threads, 2),
    (send_signal, 1),
]
