"""When a server's connection hears of itself: in the turn after its factory was called, as on asyncio."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from recording import Run, record_errors, until


class Noting(asyncio.Protocol):
    """Notes what is called, in ``order``."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.order.append("made")

    def data_received(self, data: bytes) -> None:
        self.order.append("data")

    def connection_lost(self, exc: Exception | None) -> None:
        self.order.append("lost")


async def accepted(factory: Callable[[asyncio.AbstractEventLoop, Any], Any], order: list[str]) -> list[str]:
    """What happens to one connection, whose client sends at once and then closes."""
    loop = asyncio.get_running_loop()
    server: Any = None
    server = await loop.create_server(lambda: factory(loop, server), "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.sendall(b"at once")
    for _ in range(200):
        await asyncio.sleep(0.001)
        if "lost" in order:
            break
    server.close()
    return order


def test_what_the_factory_scheduled_comes_first(run: Run) -> None:
    order: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, server: Any) -> Noting:
        order.append("factory")
        loop.call_soon(order.append, "soon")
        return Noting(order)

    assert run(accepted(factory, order)) == ["factory", "soon", "made", "data", "lost"]


@pytest.mark.edgeloop_only  # some versions of asyncio assert that the server is open
def test_a_server_that_is_closed_by_the_factory(run: Run) -> None:
    """The connection is there already, and hears of it."""
    order: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, server: Any) -> Noting:
        server.close()
        return Noting(order)

    assert run(accepted(factory, order)) == ["made", "data", "lost"]


@pytest.mark.edgeloop_only  # asyncio's Server has this from 3.13 on
def test_clients_that_are_closed_before_they_heard_of_themselves(run: Run) -> None:
    order: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, server: Any) -> Noting:
        loop.call_soon(server.close_clients)
        return Noting(order)

    assert run(accepted(factory, order)) == ["made", "lost"]


@pytest.mark.edgeloop_only  # some versions of asyncio assert that the server is open
async def test_a_factory_that_closes_the_server_has_nothing_reported_of_those_who_wait() -> None:
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    order: list[str] = []

    def factory() -> Noting:
        order.append("factory")
        server.close()
        return Noting(order)

    server = await loop.create_server(factory, "127.0.0.1", 0)
    clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(3)]
    await until(lambda: "made" in order)
    for client in clients:
        client.close()
    await until(lambda: "lost" in order)
    assert order.count("factory") == 1
    assert not errors


@pytest.mark.edgeloop_only  # asyncio leaves the socket of a factory that failed to the garbage collector
def test_connections_beside_one_whose_factory_fails(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    errors = record_errors(loop)
    order: list[str] = []
    count = 0

    def factory() -> Noting:
        nonlocal count
        count += 1
        if count == 2:
            raise ValueError
        return Noting(order)

    async def main() -> None:
        server = await loop.create_server(factory, "127.0.0.1", 0)
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(3)]
        for client in clients:
            client.close()
        for _ in range(200):
            await asyncio.sleep(0.001)
            if order.count("lost") == 2 and errors:
                break
        server.close()

    run(main())
    assert order.count("made") == order.count("lost") == 2
    assert [type(error["exception"]) for error in errors] == [ValueError]


@pytest.mark.edgeloop_only  # asyncio accepts as many in a turn as the backlog holds
async def test_those_who_are_connected_have_their_turn_between_two_slow_accepts() -> None:
    """What a turn accepts is bounded by time (rule 6)."""
    loop = asyncio.get_running_loop()
    order: list[str] = []

    def factory() -> asyncio.Protocol:
        order.append("accept")
        time.sleep(0.0005)  # more than the listener has of a turn
        return asyncio.Protocol()

    def turn() -> None:
        order.append("turn")
        if order.count("accept") < 20:
            loop.call_soon(turn)

    server = await loop.create_server(factory, "127.0.0.1", 0)
    clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(20)]
    turn()
    while order.count("accept") < 20:
        await asyncio.sleep(0)
    assert all(pair != ("accept", "accept") for pair in itertools.pairwise(order))
    for client in clients:
        client.close()
    server.close()
    await server.wait_closed()
