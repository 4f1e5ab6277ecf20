"""Clients that come all at once: a server begins their handshakes a few at a time, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable

import pytest
from recording import Recorder, reset
from tls_certificates import client_context, server_context

MAX_FLIGHTS = 16  # in a turn: handshake_limiter.MAX_FLIGHTS
SLOW = 0.0005  # seconds: longer than handshakes have of a turn, handshake_limiter.FLIGHT_SECONDS
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
    assert max(begun.count(number) for number in begun) <= MAX_FLIGHTS
    assert begun == sorted(begun)


@pytest.mark.edgeloop_only  # asyncio handles all that have come in one turn
async def test_others_have_their_turn_between_two_handshakes_that_take_long() -> None:
    """What handshakes have of a turn is bounded by time too."""
    loop = asyncio.get_running_loop()
    order: list[str] = []
    context = server_context()

    def hello_is_read(*_: object) -> None:
        order.append("handshake")
        time.sleep(SLOW)

    def turn() -> None:
        order.append("turn")
        if order.count("handshake") < CLIENTS:
            loop.call_soon(turn)

    context.sni_callback = hello_is_read
    async with crowd(context):
        turn()
        while order.count("handshake") < CLIENTS:
            await asyncio.sleep(0)
    assert all(pair != ("handshake", "handshake") for pair in itertools.pairwise(order))


@pytest.mark.edgeloop_only
async def test_a_handshake_that_has_begun_is_finished_before_others_begin() -> None:
    """It holds memory of OpenSSL's until then. So a client that goes on does not wait behind those who have come since."""
    begun = 0
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    context = server_context()
    made: list[int] = []

    def hello_is_read(*_: object) -> None:
        nonlocal begun
        begun += 1
        time.sleep(SLOW)

    class Counting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(begun)

    context.sni_callback = hello_is_read
    server = await asyncio.get_running_loop().create_server(Counting, "127.0.0.1", 0, ssl=context, backlog=CLIENTS)
    sockets = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(CLIENTS)]
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    sockets[0].sendall(outgoing.read())
    for other in sockets[1:]:
        other.sendall(hello())
    sockets[0].setblocking(False)
    sent_after = 0
    while not made:
        await asyncio.sleep(0)
        with contextlib.suppress(BlockingIOError):
            incoming.write(sockets[0].recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        if outgoing.pending:
            sockets[0].sendall(outgoing.read())
            sent_after = begun
    assert 1 <= sent_after
    assert made[0] <= sent_after + 2 < CLIENTS
    for one in sockets:
        one.close()
    server.close()
    async with asyncio.timeout(5):
        await server.wait_closed()


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
