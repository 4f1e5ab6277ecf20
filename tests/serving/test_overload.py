"""overload="refuse" and callables, and max_connections_per_peer."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from limited_servers import Clients, answered, answers, serving
from recording import Echo, receive_all, record_errors, turns, until
from tls_certificates import client_context, server_context

import edgeloop

pytestmark = pytest.mark.edgeloop_only  # asyncio has no such arguments

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def unavailable(transport: Any) -> None:
    transport.write(UNAVAILABLE)


async def test_a_client_above_the_limit_is_reset() -> None:
    loop = asyncio.get_running_loop()
    async with serving(max_connections=2, overload="refuse") as (server, address):
        with Clients(address) as clients:
            assert await answers(clients.connect(2)) == 2
            third = clients.connect()[0]
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(third, 1)
            status = server.status()
            assert (status.open, status.accepted, status.refused, status.high_mark) == (2, 2, 1, 2)
            assert edgeloop.stats(loop).accepts_refused == 1
            clients.socks[0].close()
            await until(lambda: server.status().open == 1)
            assert await answered(clients.connect()[0])


async def test_a_client_of_a_unix_server_reads_the_end(tmp_path: Path) -> None:
    loop: Any = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    server: Any = await loop.create_unix_server(Echo, path, max_connections=1, overload="refuse")
    with Clients(path) as clients:
        assert await answered(clients.connect()[0])
        assert await receive_all(clients.connect()[0]) == b""
    server.close()
    await until(lambda: server.status().open == 0)


async def test_a_client_that_has_sent_already_reads_why_it_is_refused() -> None:
    """Closing with its request unread would reset the connection, and take the answer along."""
    loop = asyncio.get_running_loop()
    async with serving(max_connections=1, overload=unavailable) as (server, address):
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])
            for _ in range(10):
                sock = clients.connect()[0]
                await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\n\r\n" * 1000)
                assert await receive_all(sock) == UNAVAILABLE
                sock.close()
            await until(lambda: server.status().refusing == 0)
            assert (server.status().open, server.status().refused) == (1, 10)


async def test_a_refused_client_that_stays_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeloop.serving import refusals

    monkeypatch.setattr(refusals, "REFUSING_SECONDS", 0.05)
    async with serving(max_connections=1, overload=unavailable) as (server, address):
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])
            clients.connect(3)
            await until(lambda: server.status().refusing == 3)
            await until(lambda: server.status().refusing == 0)
            assert server.status().open == 1


async def test_only_so_many_are_told_why_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeloop.serving import refusals

    monkeypatch.setattr(refusals, "MAX_REFUSING", 2)
    async with serving(max_connections=1, overload=unavailable) as (server, address):
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])
            clients.connect(5)
            await until(lambda: server.status().refused == 5)
            assert server.status().refusing == 2


async def test_a_callable_that_raises_is_reported_and_the_connection_closed() -> None:
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)

    def fail(transport: Any) -> None:
        transport.write(b"half")
        raise LookupError("no page")

    async with serving(max_connections=1, overload=fail) as (server, address):
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])
            assert not await answered(clients.connect()[0])
            await until(lambda: server.status().refusing == 0)
    assert [str(error["exception"]) for error in errors] == ["no page"]
    assert "overload" in errors[0]["message"]


async def test_a_callable_that_closes_or_aborts_or_takes_over_is_let() -> None:
    ways = iter([asyncio.Transport.close, asyncio.Transport.abort, asyncio.Transport.pause_reading])

    def overload(transport: Any) -> None:
        getattr(transport, next(ways).__name__)()

    async with serving(max_connections=1, overload=overload) as (server, address):
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])
            for _ in range(2):
                assert not await answered(clients.connect()[0])
            clients.connect()  # whoever pauses reading has it aborted in the end
            await until(lambda: server.status().refusing == 1)
            server.abort_clients()
            await until(lambda: server.status().refusing == 0)


async def test_a_tls_client_is_told_after_its_handshake() -> None:
    async with serving(max_connections=1, overload=unavailable, ssl=server_context()) as (server, address):
        reader, writer = await asyncio.open_connection(*address, ssl=client_context(), server_hostname="localhost")
        for _ in range(3):
            refused, writing = await asyncio.open_connection(
                *address, ssl=client_context(), server_hostname="localhost"
            )
            assert await refused.read() == UNAVAILABLE
            writing.close()
            await writing.wait_closed()
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        writer.close()
        await until(lambda: server.status().refusing == 0)
        assert server.status().refused == 3


async def test_a_tls_client_is_refused_before_its_handshake() -> None:
    async with serving(max_connections=1, overload="refuse", ssl=server_context()) as (server, address):
        with Clients(address) as clients:
            clients.connect()
            await until(lambda: server.status().open == 1)
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await asyncio.open_connection(*address, ssl=client_context(), server_hostname="localhost")


async def test_a_server_waits_for_those_that_are_told_why() -> None:
    async with serving(max_connections=1, overload=unavailable) as (server, address):
        with Clients(address) as clients:
            first, second = clients.connect(2)
            await until(lambda: server.status().refusing == 1)
            server.close()
            first.close()
            await until(lambda: server.status().open == 0)
            second.close()
            await server.wait_closed()
            await until(lambda: server.status().refusing == 0)


async def test_close_clients_closes_those_that_are_told_why() -> None:
    async with serving(max_connections=1, overload=unavailable) as (server, address):
        with Clients(address) as clients:
            clients.connect(2)
            await until(lambda: server.status().refusing == 1)
            server.close_clients()
            await until(lambda: server.status().refusing == server.status().open == 0)


# One peer


async def test_a_peer_has_so_many_connections_and_others_have_theirs() -> None:
    async with serving(max_connections_per_peer=2) as (server, address):
        with Clients(address) as clients:
            mine = clients.connect(3, source="127.0.0.1")
            assert await answers(mine) == 2
            assert await answers(clients.connect(2, source="127.0.0.9")) == 2
            assert server.status().refused == 1
            mine[0].close()
            await until(lambda: server.status().open == 3)
            assert await answered(clients.connect(source="127.0.0.1")[0])


async def test_both_limits_hold() -> None:
    async with serving(max_connections=3, max_connections_per_peer=2) as (server, address):
        with Clients(address) as clients:
            assert await answers(clients.connect(3, source="127.0.0.1")) == 2
            third = clients.connect(source="127.0.0.9")[0]
            assert await answered(third)
            clients.connect(source="127.0.0.9")
            await until(lambda: server.status().full)
            third.close()
            await until(lambda: server.status().accepted == 4)
            assert server.status().open == 3


async def test_a_peer_with_too_many_is_told_why() -> None:
    async with serving(max_connections_per_peer=1, overload=unavailable) as (_, address):
        with Clients(address) as clients:
            assert await answered(clients.connect()[0])
            assert await receive_all(clients.connect()[0]) == UNAVAILABLE


async def test_the_limit_of_a_peer_counts_those_who_came_before_it() -> None:
    async with serving() as (server, address):
        with Clients(address) as clients:
            assert await answers(clients.connect(3)) == 3
            server.set_limits(max_connections_per_peer=3)
            assert not await answered(clients.connect()[0])
            clients.socks[0].close()
            await until(lambda: server.status().open == 2)
            assert await answered(clients.connect()[0])
            server.set_limits(max_connections_per_peer=None)
            assert await answers(clients.connect(3)) == 3
            server.set_limits(max_connections_per_peer=6)
            assert not await answered(clients.connect()[0])


async def test_the_peers_of_a_unix_server_are_users(tmp_path: Path) -> None:
    loop: Any = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    server: Any = await loop.create_unix_server(Echo, path, max_connections_per_peer=2)
    with Clients(path) as clients:
        assert await answers(clients.connect(3)) == 2
        server.set_limits(max_connections_per_peer=None)
        server.set_limits(max_connections_per_peer=3)
        assert await answered(clients.connect()[0])
        assert not await answered(clients.connect()[0])
    server.close()
    await until(lambda: server.status().open == 0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%lo", "fe80::2%lo", False),
        ("fe80::1%lo", "fe80::1%lo", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_who_is_one_peer(one: str, other: str, same: bool) -> None:
    from edgeloop.serving.admission import peer_of

    def name(host: str) -> tuple[Any, ...]:
        return (host, 1, 0, 0) if ":" in host else (host, 1)

    assert (peer_of(name(one)) == peer_of(name(other))) is same


async def test_a_limit_that_refuses_no_more_forgets_nobody() -> None:
    """From refuse to wait and back while clients come."""
    async with serving(max_connections=1, overload="refuse") as (server, address):
        with Clients(address) as clients:
            first = clients.connect()[0]
            assert await answered(first)
            assert not await answered(clients.connect()[0])
            server.set_limits(overload="wait")
            waiting = clients.connect()[0]
            await until(lambda: server.status().full)
            server.set_limits(overload="refuse")
            assert not await answered(waiting)
            assert await answered(first)
            await turns()
            assert server.status().open == 1


async def test_the_peer_is_the_client_that_a_proxy_names() -> None:
    async with serving(max_connections_per_peer=1, proxy_protocol=["127.0.0.1"]) as (server, address):

        def header(host: str) -> bytes:
            return f"PROXY TCP4 {host} 192.0.2.9 5000 80\r\n".encode()

        loop = asyncio.get_running_loop()
        with Clients(address) as clients:
            for host in ("192.0.2.1", "192.0.2.2"):
                sock = clients.connect()[0]
                await loop.sock_sendall(sock, header(host))
                assert await answered(sock)
            third = clients.connect()[0]
            await loop.sock_sendall(third, header("192.0.2.1"))
            assert not await answered(third)
            await until(lambda: server.status().open == 2)
            clients.socks[0].close()
            await until(lambda: server.status().open == 1)
            fourth = clients.connect()[0]
            await loop.sock_sendall(fourth, header("192.0.2.1"))
            assert await answered(fourth)
            assert server.status().refused == 1
