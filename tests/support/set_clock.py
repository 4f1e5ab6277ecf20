"""A loop whose clock stands still until a test moves it: what comes of deadlines does not depend on the machine."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

from recording import Recording, turns

import edgeloop

LIMIT = 60  # seconds that a test may take
STEP = 2.0  # seconds that the clock moves at a time
TURNS = 12  # in which all that is due has happened: a look, one more, the end


class SetClock(edgeloop.EventLoop):
    """Its time is what a test says."""

    moment = 1000.0

    def time(self) -> float:
        return self.moment


def play(main: Coroutine[Any, Any, None], loop_factory: Callable[[], asyncio.AbstractEventLoop] = SetClock) -> None:
    """Run ``main``. A test that hangs fails: the loop's own clock can't tell."""

    def hangs(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the test hangs")

    former = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(LIMIT)
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


async def pass_time(seconds: float, step: float = STEP) -> None:
    """Move the clock, and let the loop do what is due after each step."""
    loop: Any = asyncio.get_running_loop()
    end = loop.moment + seconds
    while loop.moment < end:
        loop.moment = min(loop.moment + step, end)
        await turns(TURNS)


async def ended(protocol: Recording) -> None:
    """Pass time until it is lost. What TCP does when is the machine's affair, and may begin a deadline again."""
    while "connection_lost" not in protocol.calls:
        await pass_time(STEP)


class Served:
    """A server with limits, and the protocols of those whom it has accepted, in order."""

    def __init__(self) -> None:
        self.server: Any = None
        self.protocols: list[Recording] = []
        self._arrived = asyncio.Event()

    def made(self, protocol: Recording) -> Recording:
        self.protocols.append(protocol)
        self._arrived.set()
        return protocol

    async def protocol(self, number: int = 0) -> Recording:
        """The protocol of a connection, once that is made."""
        while len(self.protocols) <= number:
            self._arrived.clear()
            await self._arrived.wait()
        return self.protocols[number]

    async def client(self) -> socket.socket:
        """A connected socket, whose kernel holds little."""
        listening = self.server.sockets[0]
        sock = socket.socket(listening.family)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        await asyncio.get_running_loop().sock_connect(sock, listening.getsockname())
        return sock

    async def connected(self) -> tuple[socket.socket, Recording]:
        """A connected socket and its protocol, whose connection_made has been called."""
        number = len(self.protocols)
        sock = await self.client()
        protocol = await self.protocol(number)
        await protocol.called("connection_made")
        return sock, protocol


@contextlib.asynccontextmanager
async def serving(
    make: Callable[[], Recording], *, path: Path | None = None, tls: ssl.SSLContext | None = None, **limits: Any
) -> AsyncIterator[Served]:
    """A server on loopback, or on a Unix socket, whose protocols ``make`` makes."""
    loop: Any = asyncio.get_running_loop()
    served = Served()

    def factory() -> Recording:
        return served.made(make())

    if path is not None:
        served.server = await loop.create_unix_server(factory, str(path), ssl=tls, **limits)
    else:
        served.server = await loop.create_server(factory, "127.0.0.1", 0, ssl=tls, **limits)
    try:
        yield served
    finally:
        served.server.close()
        for protocol in served.protocols:
            if "connection_made" in protocol.calls and "connection_lost" not in protocol.calls:
                protocol.transport.abort()
        await turns(TURNS)
