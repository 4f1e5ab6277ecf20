"""Server.drain: the backlog is taken, protocols are told, the rest is cut at the timeout."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from limited_servers import Clients, answered, answers, ended, serving
from recording import Echo, Recorder, receive_all, record_errors, turns, until
from tls_certificates import client_context, server_context

pytestmark = pytest.mark.edgeloop_only  # asyncio's Server has no such method


class Polite(Recorder):
    """Ends its connection when it is told."""

    def server_draining(self) -> None:
        self.note("server_draining")
        self.transport.write(b"bye")
        self.transport.close()


async def test_a_server_without_connections_is_drained_at_once() -> None:
    async with serving() as (server, address):
        drained = await server.drain(None)
        assert (drained.served, drained.cut) == ((), ())
        assert not server.is_serving()
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


async def test_who_waits_in_the_backlog_is_served() -> None:
    async with serving() as (server, address):
        with Clients(address) as clients:
            socks = clients.connect(20)  # no turn of the loop since
            draining = asyncio.ensure_future(server.drain(None))
            await until(lambda: not server.is_serving())
            assert await answers(socks) == 20
            names = {sock.getsockname() for sock in socks}
            for sock in socks:
                sock.close()
            drained = await draining
            assert set(drained.served) == names and len(drained.served) == 20
            assert drained.cut == ()
            assert server.status().draining


async def test_protocols_that_can_be_told_are_told_after_connection_made() -> None:
    made: list[Polite] = []

    def factory() -> Polite:
        made.append(Polite())
        return made[-1]

    async with serving(factory) as (server, address):
        with Clients(address) as clients:
            clients.connect(2)
            await until(lambda: len(made) == 2)
            clients.connect(2)  # in the backlog
            drained = await server.drain(None)
            assert len(drained.served) == 4 and not drained.cut
            for sock in clients.socks:
                assert await receive_all(sock) == b"bye"
        assert [protocol.calls for protocol in made] == [["connection_made", "server_draining", "connection_lost"]] * 4


async def test_who_stays_is_cut_at_the_timeout() -> None:
    async with serving() as (server, address):
        with Clients(address) as clients:
            stays, goes = clients.connect(2)
            assert await answers([stays, goes]) == 2
            draining = asyncio.ensure_future(server.drain(0.2))
            goes.close()
            drained = await draining
            assert drained.cut == (stays.getsockname(),)
            assert len(drained.served) == 1
            assert server.status().open == 0
            assert await receive_all(stays) == b""


async def test_a_timeout_of_nothing_cuts_all() -> None:
    async with serving() as (server, address):
        with Clients(address) as clients:
            assert await answers(clients.connect(3)) == 3
            drained = await server.drain(0)
            assert (len(drained.served), len(drained.cut)) == (0, 3)
            assert server.status().open == 0


async def test_the_earliest_of_two_timeouts_counts() -> None:
    async with serving() as (server, address):
        with Clients(address) as clients:
            assert await answers(clients.connect(2)) == 2
            patient = asyncio.ensure_future(server.drain(None))
            await turns()
            more = asyncio.ensure_future(server.drain(3600))
            await turns()
            assert not patient.done()
            drained = await server.drain(0)
            assert len(drained.cut) == 2
            assert await patient == await more == drained
            assert await server.drain(0) == drained  # and it may be asked again


async def test_a_drain_that_is_cancelled_leaves_the_server_closed_and_its_connections_alive() -> None:
    async with serving() as (server, address):
        with Clients(address) as clients:
            first, second = clients.connect(2)
            assert await answers([first, second]) == 2
            draining = asyncio.ensure_future(server.drain(3600))
            await turns()
            draining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await draining
            assert not server.is_serving() and server.sockets == ()
            assert await answers([first, second]) == 2
            first.close()
            await until(lambda: server.status().open == 1)
            drained = await server.drain(0)
            assert (len(drained.served), len(drained.cut)) == (1, 1)


async def test_one_of_two_that_is_cancelled_does_not_end_the_other() -> None:
    async with serving() as (server, address):
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])
            one = asyncio.ensure_future(server.drain(0.1))
            other = asyncio.ensure_future(server.drain(None))
            await turns()
            one.cancel()
            assert len((await other).cut) == 1


async def test_a_suspended_server_serves_its_backlog() -> None:
    async with serving() as (server, address):
        server.suspend()
        with Clients(address) as clients:
            socks = clients.connect(3)
            await turns()
            draining = asyncio.ensure_future(server.drain(None))
            assert await answers(socks) == 3
            server.suspend()
            server.resume()
            assert server.status().suspended_since is None
            for sock in socks:
                sock.close()
            assert len((await draining).served) == 3


async def test_a_full_server_serves_its_backlog_and_keeps_its_limit() -> None:
    async with serving(max_connections=2) as (server, address):
        with Clients(address) as clients:
            socks = clients.connect(6)
            await until(lambda: server.status().full)
            draining = asyncio.ensure_future(server.drain(None))
            for sock in socks:
                assert await answered(sock)
                sock.close()
            drained = await draining
            assert len(drained.served) == 6
            assert server.status().high_mark == 2


async def test_a_server_that_never_started_or_is_closed_already() -> None:
    async with serving(start_serving=False) as (server, _):
        assert (await server.drain(None)).served == ()
    async with serving() as (server, address):
        with Clients(address) as clients:
            sock = clients.connect()[0]
            assert await answered(sock)
            server.close()
            draining = asyncio.ensure_future(server.drain(None))
            await turns()
            sock.close()
            assert len((await draining).served) == 1


async def test_serve_forever_ends_when_the_server_is_drained() -> None:
    """On Python 3.14 its end closes the connections: it may not come before they have ended."""
    async with serving(start_serving=False) as (server, _):
        address = server.sockets[0].getsockname()
        forever = asyncio.ensure_future(server.serve_forever())
        await turns()
        with Clients(address) as clients:
            sock = clients.connect()[0]
            draining = asyncio.ensure_future(server.drain(None))
            await until(lambda: server.sockets == ())
            await turns()
            assert not forever.done()
            assert await answered(sock)
            sock.close()
            assert len((await draining).served) == 1
        with pytest.raises(asyncio.CancelledError):
            await forever


async def test_a_tls_connection_is_told_when_its_handshake_is_over() -> None:
    made: list[Polite] = []

    def factory() -> Polite:
        made.append(Polite())
        return made[-1]

    async with serving(factory, ssl=server_context()) as (server, address):
        first, writer = await asyncio.open_connection(*address, ssl=client_context(), server_hostname="localhost")
        with Clients(address) as clients:
            silent = clients.connect()[0]
            await until(lambda: server.status().open == 2)
            draining = asyncio.ensure_future(server.drain(None))
            assert await first.read() == b"bye"
            writer.close()
            second, writer = await asyncio.open_connection(
                sock=silent, ssl=client_context(), server_hostname="localhost"
            )
            assert await second.read() == b"bye"
            writer.close()
            await draining
        assert sorted(protocol.calls.count("server_draining") for protocol in made) == [1, 1]
        assert all(protocol.calls[:2] == ["connection_made", "server_draining"] for protocol in made)


async def test_a_tls_handshake_is_cut_at_the_timeout() -> None:
    async with serving(ssl=server_context()) as (server, address):
        with Clients(address) as clients:
            silent = clients.connect()[0]
            await until(lambda: server.status().open == 1)
            drained = await server.drain(0)
            assert drained.cut == (silent.getsockname(),)
            assert server.status().open == 0


async def test_a_protocol_that_raises_when_told_is_reported_and_goes_on() -> None:
    errors = record_errors(asyncio.get_running_loop())

    class Fails(Echo):
        def server_draining(self) -> None:
            raise LookupError("told")

    async with serving(Fails) as (server, address):
        with Clients(address) as clients:
            sock = clients.connect()[0]
            draining = asyncio.ensure_future(server.drain(None))
            assert await answered(sock)
            sock.close()
            await draining
    assert [str(error["exception"]) for error in errors] == ["told"]


async def test_a_unix_server_takes_its_path_away_first(tmp_path: Path) -> None:
    loop: Any = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    server: Any = await loop.create_unix_server(Echo, path, cleanup_socket=True)
    with Clients(path) as clients:
        socks = clients.connect(5)
        draining = asyncio.ensure_future(server.drain(None))
        await asyncio.sleep(0)
        assert not os.path.exists(path)
        successor: Any = await loop.create_unix_server(Echo, path, cleanup_socket=True)
        assert await answers(socks) == 5
        for sock in socks:
            sock.close()
        assert len((await draining).served) == 5
    with Clients(path) as clients:
        assert await answered(clients.connect()[0])
    await ended(successor)


async def test_several_sockets_are_all_drained() -> None:
    async with serving(host=["127.0.0.1", "127.0.0.2"]) as (server, _):
        addresses = [sock.getsockname() for sock in server.sockets]
        with Clients(addresses[0]) as one, Clients(addresses[1]) as other:
            socks = one.connect(2) + other.connect(2)
            draining = asyncio.ensure_future(server.drain(None))
            assert await answers(socks) == 4
            for sock in socks:
                sock.close()
            assert len((await draining).served) == 4


@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)]
)
async def test_a_timeout_that_is_none(timeout: Any, error: type[Exception]) -> None:
    async with serving() as (server, _):
        with pytest.raises(error, match="timeout must be"):
            await server.drain(timeout)
        assert server.is_serving()
