"""max_connections with overload="wait": the kernel's backlog is the queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from limited_servers import Clients, answered, answers, serving
from recording import Echo, turns, until
from tls_certificates import client_context, server_context

pytestmark = pytest.mark.edgeloop_only  # asyncio has no such arguments


async def test_those_above_the_limit_are_served_when_others_have_gone() -> None:
    async with serving(max_connections=3) as (server, address):
        with Clients(address) as clients:
            socks = clients.connect(8)
            await until(lambda: server.status().full)
            status = server.status()
            assert (status.open, status.accepted, status.waiting, status.refused) == (3, 3, 5, 0)
            served = 0
            while socks:
                sock = socks.pop(0)
                assert await answered(sock)
                served += 1
                assert server.status().open <= 3
                sock.close()
            assert served == 8
            await until(lambda: server.status().open == 0)
            status = server.status()
            assert (status.accepted, status.high_mark, status.full, status.waiting) == (8, 3, False, 0)


async def test_a_full_server_sleeps() -> None:
    """No busy loop while clients wait: in turns of the loop."""
    loop: Any = asyncio.get_running_loop()
    async with serving(max_connections=1) as (server, address):
        with Clients(address) as clients:
            clients.connect(5)
            await until(lambda: server.status().full)
            await turns()
            before = loop.reactor.iteration
            for _ in range(5):
                await asyncio.sleep(0.01)
            assert loop.reactor.iteration - before <= 20


async def test_a_client_that_comes_while_the_server_is_full_is_no_lost_edge() -> None:
    async with serving(max_connections=1) as (server, address):
        with Clients(address) as clients:
            first = clients.connect()[0]
            assert await answered(first)
            for _ in range(20):
                second = clients.connect()[0]
                await turns(3)  # its edge is seen, or not
                first.close()
                assert await answered(second)
                first = second
        assert server.status().high_mark == 1


async def test_connections_that_end_with_nobody_waiting_make_room() -> None:
    async with serving(max_connections=2) as (server, address):
        with Clients(address) as clients:
            for _ in range(3):
                socks = clients.connect(2)
                assert await answers(socks) == 2
                for sock in socks:
                    sock.close()
        await until(lambda: server.status().open == 0)
        assert server.status().accepted == 6


async def test_a_burst_does_not_overrun_the_limit() -> None:
    """What one turn accepts is counted at once, before connection_made."""
    made = 0

    class Counting(Echo):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal made
            made += 1
            super().connection_made(transport)

    async with serving(Counting, max_connections=10) as (server, address):
        with Clients(address) as clients:
            clients.connect(40)
            await until(lambda: server.status().full)
            assert server.status().open == 10
            await turns()
            assert made == 10


async def test_several_sockets_share_one_limit_and_none_starves() -> None:
    loop: Any = asyncio.get_running_loop()
    server: Any = await loop.create_server(Echo, ["127.0.0.1", "127.0.0.2"], 0, max_connections=1)
    first, second = (sock.getsockname() for sock in server.sockets)
    with Clients(first) as here, Clients(second) as there:
        holder = here.connect()[0]
        assert await answered(holder)
        left = {"here": here.connect(4), "there": there.connect(4)}
        await turns()
        order = []
        while any(left.values()):
            holder.close()
            waiting = {asyncio.ensure_future(answered(socks[0])): name for name, socks in left.items() if socks}
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            name = waiting[done.pop()]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            order.append(name)
            holder = left[name].pop(0)
        assert order[:4].count("here") in (1, 2, 3)  # neither had to wait for all of the other
        assert server.status().high_mark == 1
    server.close()
    await until(lambda: server.status().open == 0)


async def test_a_limit_that_is_raised_lets_those_in_who_wait() -> None:
    async with serving(max_connections=2) as (server, address):
        with Clients(address) as clients:
            socks = clients.connect(6)
            await until(lambda: server.status().full)
            server.set_limits(max_connections=4)
            await until(lambda: server.status().open == 4)
            server.set_limits(max_connections=None)
            assert await answers(socks) == 6


async def test_a_limit_that_is_lowered_ends_nobody() -> None:
    async with serving() as (server, address):
        with Clients(address) as clients:
            socks = clients.connect(4)
            assert await answers(socks) == 4
            server.set_limits(max_connections=2)
            late = clients.connect()[0]
            for sock in socks[:2]:
                assert await answered(sock)
                sock.close()
            await until(lambda: server.status().open == 2)
            await turns()
            assert server.status().full
            socks[2].close()
            assert await answered(late)
            assert await answered(socks[3])


async def test_a_tls_handshake_takes_a_place() -> None:
    loop = asyncio.get_running_loop()
    async with serving(max_connections=1, ssl=server_context()) as (server, address):
        with Clients(address) as clients:
            silent = clients.connect()[0]
            await until(lambda: server.status().open == 1)
            connecting = asyncio.ensure_future(
                loop.create_connection(asyncio.Protocol, *address, ssl=client_context(), server_hostname="localhost")
            )
            await until(lambda: server.status().full)
            assert not connecting.done()
            silent.close()
            transport, _ = await connecting
            transport.abort()
        await until(lambda: server.status().open == 0)


async def test_a_unix_server_has_a_limit(tmp_path: Any) -> None:
    loop: Any = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    server: Any = await loop.create_unix_server(Echo, path, max_connections=2)
    with Clients(path) as clients:
        socks = clients.connect(5)
        await until(lambda: server.status().full)
        assert server.status().open == 2
        for sock in socks:
            assert await answered(sock)
            sock.close()
    server.close()
    await until(lambda: server.status().open == 0)


async def test_a_full_server_that_is_closed_lets_its_connections_live() -> None:
    async with serving(max_connections=1) as (server, address):
        with Clients(address) as clients:
            first = clients.connect(3)[0]
            await until(lambda: server.status().full)
            server.close()
            assert await answered(first)
            assert not server.status().full


async def test_a_factory_that_sets_a_limit_is_obeyed_at_once() -> None:
    server: Any = None

    def factory() -> Echo:
        server.set_limits(max_connections=2)
        return Echo()

    async with serving(factory) as (found, address):
        server = found
        with Clients(address) as clients:
            clients.connect(5)
            await until(lambda: server.status().full)
            assert server.status().open == 2


@pytest.mark.parametrize("limits", [{"max_connections": 1}, {"max_connections": 1, "overload": "wait"}])
async def test_waiting_is_what_a_limit_does_by_itself(limits: dict[str, Any]) -> None:
    async with serving(**limits) as (server, address):
        with Clients(address) as clients:
            clients.connect(2)
            await until(lambda: server.status().full)
            assert (server.status().refused, server.status().waiting) == (0, 1)
