"""Protocols and small steps that the tests of the rules of edge triggering share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Recorder(asyncio.Protocol):
    """Keeps what it was told, in order."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.events: list[str] = []
        self.data = bytearray()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.events.append("data")
        self.data += data

    def eof_received(self) -> bool | None:
        self.events.append("eof")
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)


class AnyTransport(asyncio.Protocol):
    """Passes on to a Recorder what a pipe's transport tells, which is no asyncio.Transport."""

    def __init__(self, recorder: Recorder) -> None:
        self.eof_received = recorder.eof_received  # type: ignore[method-assign]
        self.connection_lost = recorder.connection_lost  # type: ignore[method-assign]


class Sips(asyncio.BufferedProtocol):
    """Reads through a buffer of 1 KiB and notes each reading under its name."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.buffer = bytearray(1024)
        self.count = 0

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.log.append(self.name)
        self.count += nbytes


async def attach(sock: socket.socket, protocol: Any) -> Any:
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
    return transport


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
