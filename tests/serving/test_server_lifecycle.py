"""A Server from start to end: serve_forever, close, wait_closed, clients, and what it says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Any

import pytest
from recording import Recorder, Run


async def start(loop: asyncio.AbstractEventLoop) -> tuple[asyncio.Server, Recorder, socket.socket]:
    """A server with one client; returns the server, the protocol of its end, and the client's socket."""
    protocol = Recorder()
    server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, server.sockets[0].getsockname())
    await protocol.called("connection_made")
    return server, protocol, client


async def test_what_it_says_of_itself(loop: asyncio.AbstractEventLoop) -> None:
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    assert isinstance(server, asyncio.AbstractServer)
    assert server.get_loop() is loop
    assert server.is_serving()
    assert isinstance(server.sockets, tuple)
    assert repr(server).startswith("<Server sockets=(<asyncio.TransportSocket fd=")
    assert f"laddr={server.sockets[0].getsockname()}" in repr(server)
    server.close()
    assert not server.is_serving()
    assert server.sockets == ()
    assert repr(server) == "<Server sockets=()>"
    await server.wait_closed()


async def test_sockets_are_transport_sockets(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Recorder, "127.0.0.1", 0) as server:
        (sock,) = server.sockets
        from asyncio import trsock

        assert isinstance(sock, trsock.TransportSocket)
        for forbidden in ("recv", "send", "close", "accept"):
            assert not hasattr(sock, forbidden)


async def test_close_frees_the_port_and_keeps_the_clients(loop: asyncio.AbstractEventLoop) -> None:
    server, protocol, client = await start(loop)
    address = server.sockets[0].getsockname()
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
        pass
    with client:
        await loop.sock_sendall(client, b"still here")
        assert await protocol.bytes_in(10) == b"still here"
        protocol.transport.write(b"so am I")
        assert await loop.sock_recv(client, 100) == b"so am I"
    await protocol.lost()
    await server.wait_closed()


async def test_wait_closed_of_an_open_server_waits(loop: asyncio.AbstractEventLoop) -> None:
    if sys.version_info < (3, 12, 1):
        pytest.skip("changed in Python 3.12.1")

    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    waiting = asyncio.ensure_future(server.wait_closed())
    await asyncio.sleep(0.005)
    assert not waiting.done()
    server.close()
    await waiting
    await server.wait_closed()


async def test_wait_closed_and_clients(loop: asyncio.AbstractEventLoop) -> None:
    """Before 3.12 a closed server's wait_closed returned at once; since 3.12.1 it waits for the clients."""
    server, protocol, client = await start(loop)
    server.close()
    waiting = asyncio.ensure_future(server.wait_closed())
    await asyncio.sleep(0.005)
    if sys.version_info >= (3, 12, 1):
        assert not waiting.done()
    elif sys.version_info < (3, 12):
        assert waiting.done()
    client.close()
    await protocol.lost()
    await waiting


async def test_wait_closed_twice_at_once(loop: asyncio.AbstractEventLoop) -> None:
    server, protocol, client = await start(loop)
    waiting = [asyncio.ensure_future(server.wait_closed()) for _ in range(3)]
    await asyncio.sleep(0)
    server.close()
    protocol.transport.close()
    await asyncio.gather(*waiting)
    client.close()


if sys.version_info >= (3, 13):

    def test_close_clients(loop: asyncio.AbstractEventLoop, run: Run) -> None:
        async def main() -> None:
            server, protocol, client = await start(loop)
            protocol.transport.write(b"last words")
            server.close()
            server.close_clients()
            await server.wait_closed()
            assert protocol.calls[-1] == "connection_lost"
            assert protocol.error is None
            with client:
                assert await loop.sock_recv(client, 100) == b"last words"
                assert await loop.sock_recv(client, 100) == b""

        run(main())

    def test_close_clients_flushes_first(loop: asyncio.AbstractEventLoop, run: Run) -> None:
        async def main() -> None:
            server, protocol, client = await start(loop)
            protocol.transport.write(bytes(10_000_000))
            server.close()
            server.close_clients()
            await asyncio.sleep(0.005)
            assert "connection_lost" not in protocol.calls
            total = 0
            with client:
                while part := await loop.sock_recv(client, 1 << 20):
                    total += len(part)
            assert total == 10_000_000
            await server.wait_closed()

        run(main())

    def test_abort_clients(loop: asyncio.AbstractEventLoop, run: Run) -> None:
        async def main() -> None:
            server, protocol, client = await start(loop)
            protocol.transport.write(bytes(10_000_000))
            server.close()
            server.abort_clients()
            await server.wait_closed()
            assert protocol.calls[-1] == "connection_lost"
            total = 0
            with client:
                while part := await loop.sock_recv(client, 1 << 20):
                    total += len(part)
            assert total < 10_000_000

        run(main())

    def test_clients_are_not_kept_alive_by_the_server(loop: asyncio.AbstractEventLoop, run: Run) -> None:
        async def main() -> None:
            server, protocol, client = await start(loop)
            client.close()
            await protocol.lost()
            server.close_clients()
            server.abort_clients()
            async with server:
                assert server.is_serving()

        run(main())


async def test_serve_forever_until_cancelled(loop: asyncio.AbstractEventLoop) -> None:
    server = await loop.create_server(Recorder, "127.0.0.1", 0, start_serving=False)
    address = server.sockets[0].getsockname()
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    assert server.is_serving()
    socket.create_connection(address).close()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert not server.is_serving()
    assert server.sockets == ()


async def test_serve_forever_twice(loop: asyncio.AbstractEventLoop) -> None:
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=r"^server <Server .* is already being awaited on serve_forever\(\)$"):
        await server.serve_forever()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_serve_forever_of_a_closed_server(loop: asyncio.AbstractEventLoop) -> None:
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    server.close()
    with pytest.raises(RuntimeError, match=r"^server <Server sockets=\(\)> is closed$"):
        await server.serve_forever()
    await server.wait_closed()


async def test_start_serving_of_a_closed_server(loop: asyncio.AbstractEventLoop) -> None:
    for start_serving in (True, False):
        server = await loop.create_server(Recorder, "127.0.0.1", 0, start_serving=start_serving)
        server.close()
        with pytest.raises(TypeError):
            await server.start_serving()
        await server.wait_closed()


async def test_close_ends_serve_forever(loop: asyncio.AbstractEventLoop) -> None:
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    server.close()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_async_with_closes(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Recorder, "127.0.0.1", 0) as server:
        assert server.is_serving()
    assert not server.is_serving()


async def test_close_with_connections_in_the_backlog(loop: asyncio.AbstractEventLoop) -> None:
    """Clients that were never accepted are let go by the kernel; no one hangs."""
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    clients = []
    for _ in range(5):
        client = socket.create_connection(server.sockets[0].getsockname())
        client.setblocking(False)
        clients.append(client)
    server.close()
    await asyncio.sleep(0)
    for client in clients:
        with client, contextlib.suppress(ConnectionResetError):
            assert await loop.sock_recv(client, 1) == b""


async def test_close_from_a_protocol_callback(loop: asyncio.AbstractEventLoop) -> None:
    class Closes(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            server.close()
            transport.close()

    protocol = Closes()
    server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        await server.wait_closed()
        await protocol.lost()


def test_closing_the_loop_closes_the_listener(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    server = run(loop.create_server(Recorder, "127.0.0.1", 0))
    address = server.sockets[0].getsockname()
    server.close()
    loop.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
        pass


async def test_many_servers(loop: asyncio.AbstractEventLoop) -> None:
    servers: list[Any] = [await loop.create_server(Recorder, "127.0.0.1", 0) for _ in range(50)]
    for server in servers:
        with socket.create_connection(server.sockets[0].getsockname()):
            pass
    for server in servers:
        server.close()
    await asyncio.gather(*(server.wait_closed() for server in servers))
