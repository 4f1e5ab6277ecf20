"""Servers behind a proxy that have limits, refuse and drain: what counts is the client that the proxy names."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from proxy_headers import V1, served
from recording import Recorder, until
from tls_certificates import server_context

pytestmark = pytest.mark.edgeloop_only

TRUSTED = ["127.0.0.1"]


def header_of(client: str) -> bytes:
    return f"PROXY TCP4 {client} 198.51.100.1 1 443\r\n".encode()


async def proxied(server: Any, client: str) -> socket.socket:
    sock: socket.socket = await server.client()
    await asyncio.get_running_loop().sock_sendall(sock, header_of(client))
    return sock


async def is_closed(sock: socket.socket) -> bool:
    try:
        return await asyncio.get_running_loop().sock_recv(sock, 1) == b""
    except ConnectionResetError:
        return True


async def test_the_connections_of_a_client_count_and_not_those_of_its_proxy() -> None:
    async with served(Recorder, TRUSTED, max_connections_per_peer=2) as server:
        for client in ("203.0.113.1", "203.0.113.2"):
            socks = []
            for place in range(3):
                before = len(server.made)
                socks.append(await proxied(server, client))
                await until(lambda before=before: len(server.made) > before)  # type: ignore[misc]
                if place < 2:
                    await until(lambda: server.made[-1].calls == ["connection_made"])
            assert await is_closed(socks[2])
            assert server.made[-1].calls == []
            for sock in socks:
                sock.close()
        await until(lambda: not server.server.status().open)
        assert server.server.status().refused == 2
        with await proxied(server, "203.0.113.1"):
            await until(lambda: server.made[-1].calls == ["connection_made"])


async def test_connections_without_a_header_yet_are_open_ones() -> None:
    async with served(Recorder, TRUSTED, max_connections=2, overload="refuse") as server:
        with await server.client(), await server.client():
            await until(lambda: server.server.status().open == 2)
            with pytest.raises(ConnectionResetError), await server.client() as third:  # here, or when it connects
                if await is_closed(third):
                    raise ConnectionResetError


class Draining(Recorder):
    def server_draining(self) -> None:
        self.note("server_draining")
        self.transport.close()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_client_whose_header_comes_while_the_server_drains_is_served(secure: bool) -> None:
    context = server_context() if secure else None
    async with served(Draining, TRUSTED, context=context) as server:
        with await server.client() as client:
            await until(lambda: server.server.status().open == 1)
            draining = asyncio.ensure_future(server.server.drain(None if not secure else 0.5))
            await asyncio.sleep(0.01)
            await asyncio.get_running_loop().sock_sendall(client, V1)
            if not secure:
                await server.made[0].called("connection_lost")
                assert server.made[0].calls == ["connection_made", "server_draining", "connection_lost"]
            drained = await draining
            assert len(drained.served) + len(drained.cut) == 1
            assert len(drained.served) == (0 if secure else 1)


async def test_who_is_told_why_it_is_refused_is_told_after_its_header() -> None:
    def full(transport: Any) -> None:
        transport.write(repr(transport.get_extra_info("peername")[0]).encode())

    async with served(Recorder, TRUSTED, max_connections=1, overload=full) as server:
        with await proxied(server, "203.0.113.1"):
            await until(lambda: server.server.status().open == 1)
            with await proxied(server, "203.0.113.2") as second:
                assert await asyncio.get_running_loop().sock_recv(second, 100) == b"'203.0.113.2'"
                assert await is_closed(second)
