"""A datagram protocol that remembers what it was told, and endpoints with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

from recording import Recording

LOCAL = ("127.0.0.1", 0)


class DatagramRecorder(Recording, asyncio.DatagramProtocol):
    """``datagrams``: (data, address) in order of arrival; ``errors``: what error_received was given."""

    def __init__(self) -> None:
        super().__init__()
        self.datagrams: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.endpoint: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.endpoint = cast(asyncio.DatagramTransport, transport)  # asyncio's own is no instance of it before 3.12
        self.note("connection_made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert type(data) is bytes
        self.datagrams.append((data, addr))
        self.note("datagram_received")

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)
        self.note("error_received")

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.datagrams]

    async def arrived(self, count: int) -> list[bytes]:
        """The first ``count`` datagrams' data, when they are there."""
        await self.until(lambda: len(self.datagrams) >= count)
        return self.data[:count]


class DatagramEcho(DatagramRecorder):
    """Sends back what it gets."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        super().datagram_received(data, addr)
        self.endpoint.sendto(data, addr)


@contextlib.asynccontextmanager
async def endpoint(
    factory: Callable[[], DatagramRecorder] = DatagramRecorder, **arguments: Any
) -> AsyncIterator[tuple[asyncio.DatagramTransport, DatagramRecorder]]:
    """A datagram endpoint, by default bound to a free port of 127.0.0.1; closed at the end."""
    loop = asyncio.get_running_loop()
    if not arguments:
        arguments = {"local_addr": LOCAL}
    transport, protocol = await loop.create_datagram_endpoint(factory, **arguments)
    try:
        yield transport, protocol
    finally:
        transport.abort()
        await protocol.lost()
        await asyncio.sleep(0)  # the loop closes the socket right after it has told the protocol


@contextlib.contextmanager
def plain_socket(family: int = socket.AF_INET, address: Any = LOCAL) -> Any:
    """A non-blocking datagram socket of the test's own, bound to ``address`` (None: not bound)."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        if address is not None:
            sock.bind(address)
        yield sock


def name_of(transport: asyncio.BaseTransport) -> Any:
    return transport.get_extra_info("sockname")


async def receive(sock: socket.socket, count: int) -> list[bytes]:
    """The next ``count`` datagrams of a socket of the test's own."""
    loop = asyncio.get_running_loop()
    return [await loop.sock_recv(sock, 70000) for _ in range(count)]


def blocked_pair(tmp_path: Path) -> tuple[socket.socket, str]:
    """A Unix datagram socket that nobody reads from yet, and its path: its queue is soon full."""
    path = str(tmp_path / "reader")
    reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    reader.setblocking(False)
    reader.bind(path)
    return reader, path
