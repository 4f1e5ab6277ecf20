"""What ``Server.status()`` tells: counts that begin with accept(2) and end with the descriptor."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from recording import until
from tls_certificates import server_context

pytestmark = pytest.mark.edgeloop_only  # asyncio's Server has no such method


async def serve(factory: Any = asyncio.Protocol, **keywords: Any) -> tuple[Any, tuple[str, int]]:
    server: Any = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, **keywords)
    return server, server.sockets[0].getsockname()


async def test_connections_are_counted_from_accept_to_close() -> None:
    server, address = await serve()
    assert (server.status().open, server.status().accepted, server.status().high_mark) == (0, 0, 0)
    clients = [socket.create_connection(address) for _ in range(5)]
    await until(lambda: server.status().open == 5)
    for client in clients[:3]:
        client.close()
    await until(lambda: server.status().open == 2)
    clients.append(socket.create_connection(address))
    await until(lambda: server.status().accepted == 6)
    status = server.status()
    assert (status.open, status.accepted, status.high_mark, status.refused) == (3, 6, 5, 0)
    server.close()
    assert server.status() == status
    for client in clients:
        client.close()
    await server.wait_closed()
    await until(lambda: server.status().open == 0)
    assert (server.status().accepted, server.status().high_mark) == (6, 5)


async def test_a_connection_in_its_tls_handshake_is_open() -> None:
    server, address = await serve(ssl=server_context())
    with socket.create_connection(address):
        await until(lambda: server.status().open == 1)
    await until(lambda: server.status().open == 0)
    assert server.status().accepted == 1
    server.close()
    await server.wait_closed()


async def test_a_server_waits_for_a_connection_in_its_tls_handshake() -> None:
    server, address = await serve(ssl=server_context())
    client = socket.create_connection(address)
    await until(lambda: server.status().accepted == 1)
    server.close()
    waiting = asyncio.ensure_future(server.wait_closed())
    client.close()
    await waiting
    await until(lambda: server.status().open == 0)


async def test_a_connection_whose_factory_fails_is_not_open() -> None:
    loop = asyncio.get_running_loop()
    reports: list[Any] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    def factory() -> asyncio.Protocol:
        raise LookupError

    server, address = await serve(factory)
    with socket.create_connection(address):
        await until(lambda: bool(reports))
    assert (server.status().open, server.status().accepted) == (0, 1)
    server.close()
    await server.wait_closed()


async def test_a_deadline_is_counted_by_its_kind() -> None:
    server, _ = await serve()
    server._count_timeout("idle")
    server._count_timeout("idle")
    server._count_timeout("write")
    assert server.status().timed_out == {"idle": 2, "first_byte": 0, "write": 1, "lifetime": 0}
    server.close()


async def test_a_status_does_not_change() -> None:
    server, _ = await serve()
    status = server.status()
    with pytest.raises(AttributeError):
        status.open = 1
    server._count_timeout("idle")
    assert status.timed_out["idle"] == 0
    server.close()
