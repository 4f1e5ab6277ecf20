"""What happens in the middle of accepting: clients that keep coming, and transports that can't begin."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import pytest
from limited_servers import Clients, answered
from recording import Echo, Recording, record_errors, turns, until
from set_clock import pass_time, play, serving

import edgeloop

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers are not drained, and have no limits

BACKLOG = 2


async def test_a_drain_ends_though_each_client_brings_another() -> None:
    loop: Any = asyncio.get_running_loop()
    clients: list[socket.socket] = []

    def factory() -> asyncio.Protocol:
        if len(clients) < 50:
            clients.append(socket.create_connection(address))  # the kernel accepts for the listener
        return asyncio.Protocol()

    server = await loop.create_server(factory, "127.0.0.1", 0, backlog=BACKLOG)
    address = server.sockets[0].getsockname()
    server.suspend()
    clients.append(socket.create_connection(address))
    draining = asyncio.ensure_future(server.drain())
    await until(lambda: not server.sockets)
    assert len(clients) == 1 + BACKLOG + 1
    for client in clients:
        client.close()
    await draining


class NoMemory(edgeloop.EventLoop):
    """Can't schedule the beginning of a connection."""

    refusing = True

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        if self.refusing and getattr(callback, "__name__", "") == "begin":
            self.refused = callback.__self__
            raise MemoryError
        return super().call_soon(callback, *args, context=context)


def test_a_transport_that_can_not_begin_gives_up_its_descriptor() -> None:
    """It would close the number once more at its end, when it is somebody else's."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        errors = record_errors(loop)
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        with Clients(server.sockets[0].getsockname()) as clients:
            client = clients.connect()[0]
            assert await loop.sock_recv(client, 1) == b""
            assert repr(loop.refused) == "<StreamTransport closed fd=-1>"
            assert [type(error["exception"]) for error in errors] == [MemoryError]
            assert server.status().open == 0
            loop.refusing = False
            assert await answered(clients.connect()[0])
        server.close()
        await until(lambda: server.status().open == 0)
        del loop.refused
        gc.collect()

    play(main(), NoMemory)


def test_who_is_refused_has_no_deadlines_of_the_server() -> None:
    async def main() -> None:
        def say_no(transport: Any) -> None:
            transport.write(b"no")

        limits: dict[str, Any] = {"max_connections": 1, "overload": say_no, "idle_timeout": 2}
        async with serving(Recording, **limits) as served:
            first, protocol = await served.connected()
            second = await served.client()
            with first, second:
                assert await asyncio.get_running_loop().sock_recv(second, 10) == b"no"
                while "connection_lost" not in protocol.calls:
                    await pass_time(0.5, 0.5)
                await pass_time(0.5, 0.5)
                await turns(5)
                assert served.server.status().timed_out["idle"] == 1

    play(main())
