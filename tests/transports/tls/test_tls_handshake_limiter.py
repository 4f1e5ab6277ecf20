"""Clients that come all at once: a server begins their handshakes a few at a time, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
from recording import Recorder, reset
from tls_certificates import client_context, server_context

MAX_BEGUN = 16  # in a turn: handshake_limiter.MAX_BEGUN
CLIENTS = 50


def hello() -> bytes:
    """What a client begins with."""
    outgoing = ssl.MemoryBIO()
    client = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@contextlib.asynccontextmanager
async def crowd(context: ssl.SSLContext) -> AsyncIterator[tuple[list[socket.socket], int]]:
    """CLIENTS that have sent their hello, and nothing more; and the port of the server, which has not looked yet."""
    server = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", 0, ssl=context, backlog=CLIENTS)
    address = server.sockets[0].getsockname()
    clients = [socket.create_connection(address) for _ in range(CLIENTS)]
    try:
        for client in clients:
            client.sendall(hello())
        yield clients, address[1]
    finally:
        for client in clients:
            client.close()
        server.close()
        async with asyncio.timeout(5):
            await server.wait_closed()


@pytest.mark.edgeloop_only
async def test_a_turn_begins_a_few() -> None:
    """Those who are connected already wait no longer than that, and what a handshake needs is not there for all at once."""
    turn = 0
    begun: list[int] = []
    context = server_context()
    context.sni_callback = lambda *_: begun.append(turn)  # called when the hello is read

    async with crowd(context):
        while len(begun) < CLIENTS:
            await asyncio.sleep(0)
            turn += 1
    assert max(begun.count(number) for number in begun) <= MAX_BEGUN
    assert begun == sorted(begun)


async def test_those_who_say_no_more_hold_up_nobody() -> None:
    async with crowd(server_context()) as (_, port):
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client_context(), server_hostname="localhost"
            )
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b""


@pytest.mark.parametrize("end", [socket.socket.close, reset])
async def test_those_who_leave_while_they_wait(end: Callable[[socket.socket], None]) -> None:
    """Who comes after them is served, and the server has done with them when it closes."""
    async with crowd(server_context()) as (clients, port):
        for client in clients[::2]:
            end(client)
        transport, _ = await asyncio.get_running_loop().create_connection(
            Recorder, "127.0.0.1", port, ssl=client_context(), server_hostname="localhost"
        )
        transport.abort()


@pytest.mark.edgeloop_only
async def test_a_server_that_closes_while_they_wait() -> None:
    """In asyncio, of 3.13 at least, the transports of such clients find the server gone."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=server_context(), backlog=CLIENTS)
    clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(CLIENTS)]
    for client in clients:
        client.sendall(hello())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    server.close()
    for client in clients:
        client.close()
    async with asyncio.timeout(5):
        await server.wait_closed()
