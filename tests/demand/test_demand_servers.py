"""What users of other loops report about servers, a short test for each report.

Each docstring begins with the report it stands for; test_demand_rows.py holds the list of them.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from recording import Recorder, connected, reset

Factory = Callable[[], asyncio.AbstractEventLoop]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio.Server has them since 3.13")
async def test_close_clients_and_abort_clients(loop: asyncio.AbstractEventLoop) -> None:
    """uvloop #683: Server.close_clients, abort_clients are missing.

    asyncio's own tests: abort_clients, which ends clients that do not read.
    """

    async def ended(how: str) -> Exception | None:
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        server: Any = await loop.create_server(factory, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        client.sendall(b"x")
        with client:
            while not protocols:
                await asyncio.sleep(0.001)
            await protocols[0].bytes_in(1)
            if how == "abort_clients":
                # More than the kernel takes: close() would wait for the client to read.
                protocols[0].transport.write(bytes(50_000_000))
            server.close()
            getattr(server, how)()
            await server.wait_closed()
            return await protocols[0].lost()

    assert await ended("close_clients") is None
    assert await ended("abort_clients") is None


@pytest.mark.edgeloop_only
async def test_peername_of_a_connection_that_has_gone(loop: asyncio.AbstractEventLoop) -> None:
    """uvloop #560: peername is None on a connection that is already gone; accept4(2) gave the address."""
    protocols: list[Recorder] = []

    def factory() -> Recorder:
        protocols.append(Recorder())
        return protocols[-1]

    async with await loop.create_server(factory, "127.0.0.1", 0) as server:
        # The loop doesn't run in between: each client has gone before accept.
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(10)]
        addresses = [client.getsockname() for client in clients]
        for client in clients:
            reset(client)
        while len(protocols) < 10:
            await asyncio.sleep(0.001)
        for protocol in protocols:
            await protocol.lost()
        assert [protocol.transport.get_extra_info("peername") for protocol in protocols] == addresses


async def test_a_server_of_none(loop: asyncio.AbstractEventLoop) -> None:
    """uvloop #706, #538, #760: wrong types raise where they are given."""
    create: Any = loop.create_server

    with pytest.raises(ValueError, match="Neither host/port nor sock were specified"):
        await create(Recorder)
    for wrong in (17, object()):
        with pytest.raises((TypeError, AttributeError)):
            await create(Recorder, sock=wrong)
    async with connected(Recorder) as (transport, _, _):
        for wrong in (None, "text", 1):
            with pytest.raises(TypeError):
                transport.write(wrong)  # type: ignore[arg-type]


async def test_wait_closed(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio's own tests: wait_closed.

    Server.wait_closed changed in 3.12.1: since then it waits for the last connection.
    """
    protocols: list[Recorder] = []

    def factory() -> Recorder:
        protocols.append(Recorder())
        return protocols[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        while not protocols:
            await asyncio.sleep(0.001)
        server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        for _ in range(5):
            await asyncio.sleep(0)
        if sys.version_info[:3] != (3, 12, 0):  # which hung even without connections
            assert waiting.done() is (sys.version_info < (3, 12))
        client.close()
        await protocols[0].lost()
        await waiting
