"""Whose events took longest: the protocol above TLS, or the channel where there is no protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from limited_servers import ended
from tls_certificates import client_context, server_context

import edgeloop

pytestmark = pytest.mark.edgeloop_only

seconds = 0.02


def spend() -> None:
    """Take longer each time: on a busy machine another callback may have taken as long."""
    global seconds
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    seconds *= 1.5
    while loop.time() < until:
        pass


class Slow(asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        spend()


async def named(name: str, act: Callable[[], object]) -> None:
    global seconds
    seconds = 0.02
    loop = asyncio.get_running_loop()
    with edgeloop.measure(loop):
        for _ in range(12):
            act()
            await asyncio.sleep(0.001)
            longest = edgeloop.stats(loop).longest
            if longest is not None and name in longest.name:
                return
    raise AssertionError(longest)


async def test_a_protocol_above_tls_is_named() -> None:
    loop = asyncio.get_running_loop()
    server: Any = await loop.create_server(Slow, "127.0.0.1", 0, ssl=server_context())
    transport, _ = await loop.create_connection(
        asyncio.Protocol, *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
    )
    await named("Slow of StreamTransport", lambda: transport.write(b"x"))
    transport.abort()
    await ended(server)


async def test_a_listener_is_named_by_its_descriptor() -> None:
    def make() -> Slow:
        spend()
        return Slow()

    server: Any = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    clients: list[socket.socket] = []
    await named("Listener fd=", lambda: clients.append(socket.create_connection(address)))
    for client in clients:
        client.close()
    await ended(server)
