"""Servers with limits, and clients of theirs that a test holds open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from recording import Echo


@contextlib.asynccontextmanager
async def serving(factory: Any = Echo, **keywords: Any) -> AsyncIterator[tuple[Any, tuple[str, int]]]:
    """A server on loopback and its address; closed with its connections at the end."""
    keywords.setdefault("host", "127.0.0.1")
    keywords.setdefault("port", 0)
    server: Any = await asyncio.get_running_loop().create_server(factory, **keywords)
    try:
        yield server, server.sockets[0].getsockname()
    finally:
        await ended(server)


async def ended(server: Any) -> None:
    """Close a server, abort its connections, and wait until the last descriptor is closed: all in one on every Python."""
    server.close()
    server.abort_clients()
    while server.status().open or server.status().refusing:
        await asyncio.sleep(0)


class Clients:
    """Plain sockets that a test has connected; non-blocking."""

    def __init__(self, address: Any) -> None:
        self.address = address
        self.socks: list[socket.socket] = []

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for sock in self.socks:
            sock.close()

    def connect(self, count: int = 1, source: str | None = None) -> list[socket.socket]:
        """Connect so many; the kernel does it without the server."""
        made = []
        for _ in range(count):
            sock = socket.socket(socket.AF_UNIX if isinstance(self.address, str | bytes) else socket.AF_INET)
            self.socks.append(sock)
            if source is not None:
                sock.bind((source, 0))
            sock.connect(self.address)
            sock.setblocking(False)
            made.append(sock)
        return made


async def answered(sock: socket.socket, data: bytes = b"ping") -> bool:
    """Return True if an echo comes back, False if the connection ends instead, by FIN or RST."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(sock, data)
        return await loop.sock_recv(sock, 100) == data
    except ConnectionError:
        return False


async def answers(socks: list[socket.socket]) -> int:
    """How many of them are answered; it waits for each."""
    return sum(await asyncio.gather(*(answered(sock) for sock in socks)))
