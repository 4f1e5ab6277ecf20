"""Hosts and ports in unusual forms, and what a replaced getaddrinfo may answer: as on asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

needs_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="this Python was built without IPv6")


def answering(monkeypatch: pytest.MonkeyPatch, *infos: Any) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **keywords: list(infos))


@pytest.mark.parametrize("port", [None, "", b""])
async def test_a_server_without_a_port_gets_one(port: Any) -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", port)
    assert server.sockets[0].getsockname()[1] > 0
    server.close()


async def test_a_service_that_is_not_known_is_refused() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(socket.gaierror):
            await loop.sock_connect(sock, ("127.0.0.1", "no-such-service"))


async def test_a_host_may_be_bytes(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    port = listener.getsockname()[1]
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (b"127.0.0.1", port))
        assert sock.getpeername() == ("127.0.0.1", port)


@pytest.mark.edgeloop_only  # asyncio raises the UnicodeError of its own attempt to decode them
async def test_bytes_that_are_no_host_are_left_to_the_c_library() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(socket.gaierror):
            await loop.sock_connect(sock, (b"\xff.invalid", 80))
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo(b"\xff.invalid", 80)


async def connect(loop: asyncio.AbstractEventLoop) -> Any:
    return await loop.create_connection(asyncio.Protocol, "a.name", 80)


async def serve(loop: asyncio.AbstractEventLoop) -> Any:
    return await loop.create_server(asyncio.Protocol, "a.name", 80)


async def datagrams(loop: asyncio.AbstractEventLoop) -> Any:
    return await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("a.name", 80))


@pytest.mark.parametrize("call", [connect, serve, datagrams])
async def test_a_name_without_addresses_is_an_oserror(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[asyncio.AbstractEventLoop], Awaitable[Any]]
) -> None:
    answering(monkeypatch)
    with pytest.raises(OSError, match=r"getaddrinfo\(.*\) returned empty list"):
        await call(asyncio.get_running_loop())


@pytest.mark.parametrize("call", [serve, datagrams])
async def test_an_address_that_no_socket_takes_leaves_no_socket_behind(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[asyncio.AbstractEventLoop], Awaitable[Any]]
) -> None:
    """The fixture that counts descriptors would tell."""
    kind = socket.SOCK_DGRAM if call is datagrams else socket.SOCK_STREAM
    answering(monkeypatch, (socket.AF_INET, kind, 0, "", ("127.0.0.1", 70_000)))
    with pytest.raises(OverflowError):
        await call(asyncio.get_running_loop())


@needs_ipv6
async def test_the_scope_of_an_address_is_that_of_the_name_s(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6) as listening, socket.socket(socket.AF_INET6) as sock:
        try:
            listening.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 address")
        listening.listen()
        port = listening.getsockname()[1]
        answering(monkeypatch, (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)))
        sock.setblocking(False)
        await loop.sock_connect(sock, ("a.name", port, 7, 0))
        assert sock.getpeername()[1] == port


@pytest.mark.edgeloop_only  # asyncio leaves the socket open
async def test_a_path_with_a_null_in_it_leaves_no_socket_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null"):
        await asyncio.get_running_loop().create_unix_server(asyncio.Protocol, f"{tmp_path}/a\0b")


async def test_a_server_whose_path_is_gone_already_ends_like_others(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        path.unlink()
        server = await loop.create_unix_server(asyncio.Protocol, sock=sock)
        path.write_text("somebody else's")
        server.close()
        await server.wait_closed()
    assert path.read_text() == "somebody else's"
