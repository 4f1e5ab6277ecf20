"""Headers of the PROXY protocol as a proxy makes them, and servers that want one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from recording import Recording

AnyRecording = TypeVar("AnyRecording", bound=Recording)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"
CLIENT, DESTINATION = ("203.0.113.7", 56324), ("198.51.100.1", 443)


def v2(body: bytes, kind: int = 0x11, command: int = 0x21, size: int | None = None) -> bytes:
    """A header of version 2; ``size`` is what it says of its body, by default the truth."""
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body) if size is None else size) + body


def ipv4(client: tuple[str, int] = CLIENT, destination: tuple[str, int] = DESTINATION) -> bytes:
    """The addresses of version 2."""
    hosts = socket.inet_aton(client[0]) + socket.inet_aton(destination[0])
    return hosts + struct.pack("!HH", client[1], destination[1])


def ipv6(client: str, destination: str, ports: tuple[int, int]) -> bytes:
    hosts = socket.inet_pton(socket.AF_INET6, client) + socket.inet_pton(socket.AF_INET6, destination)
    return hosts + struct.pack("!HH", *ports)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


class Served:
    """A server on loopback, the protocols of its connections, and what they were connected to as."""

    def __init__(self, server: Any, made: list[Any]) -> None:
        self.server = server
        self.made = made
        self.address = server.sockets[0].getsockname()
        self.family = server.sockets[0].family

    async def client(self) -> socket.socket:
        """A connection to it, non-blocking."""
        sock = socket.socket(self.family)
        sock.setblocking(False)
        if self.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self.address)
        except BaseException:
            sock.close()
            raise
        return sock


@contextlib.asynccontextmanager
async def served(
    factory: Callable[[], Any],
    trusted: list[str],
    *,
    context: ssl.SSLContext | None = None,
    path: str | None = None,
    **limits: Any,
) -> AsyncIterator[Served]:
    """A server of ``factory``'s protocols that wants a header of those who are trusted."""
    loop: Any = asyncio.get_running_loop()
    made: list[Any] = []

    def make() -> Any:
        made.append(factory())
        return made[-1]

    if path is None:
        server = await loop.create_server(make, "127.0.0.1", 0, ssl=context, proxy_protocol=trusted, **limits)
    else:
        server = await loop.create_unix_server(make, path, ssl=context, proxy_protocol=trusted, **limits)
    try:
        yield Served(server, made)
    finally:
        server.close()
        server.abort_clients()
        await asyncio.wait_for(server.wait_closed(), 30)
        await asyncio.sleep(0)


def names(protocol: Any) -> tuple[Any, Any]:
    """What its transport says of the two ends."""
    return protocol.transport.get_extra_info("peername"), protocol.transport.get_extra_info("sockname")
