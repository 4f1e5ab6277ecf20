"""The sockets that a loop makes for its connections, and what a program gets of them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from recording import Recorder
from sockets import listening_socket

IPPROTO_MPTCP = 262  # linux/in.h; Python's socket module has it from 3.10 on where its own headers had it


async def test_a_class_in_socket_s_place_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What guards against connections in tests, or sends them through a proxy, does so there."""

    class Guard(socket.socket):
        def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            super().__init__(family, type, proto, fileno)
            made.append(self)

    made: list[Guard] = []

    with listening_socket() as listening:
        monkeypatch.setattr(socket, "socket", Guard)
        transport, _ = await asyncio.get_running_loop().create_connection(Recorder, *listening.getsockname())
        assert [sock.fileno() for sock in made] == [transport.get_extra_info("socket").fileno()]
        transport.abort()


async def test_a_duplicate_lives_on() -> None:
    with listening_socket() as listening:
        transport, _ = await asyncio.get_running_loop().create_connection(Recorder, *listening.getsockname())
        with listening.accept()[0] as peer, transport.get_extra_info("socket").dup() as duplicate:
            transport.write(b"from the transport, ")
            transport.abort()
            await asyncio.sleep(0.01)
            assert transport.get_extra_info("socket").fileno() == -1
            duplicate.setblocking(True)
            duplicate.sendall(b"from the duplicate")
            duplicate.shutdown(socket.SHUT_WR)
            received = b""
            while data := peer.recv(100):
                received += data
            assert received == b"from the transport, from the duplicate"


async def test_an_option_that_the_kernel_refuses_raises() -> None:
    with listening_socket() as listening:
        transport: Any
        transport, _ = await asyncio.get_running_loop().create_connection(Recorder, *listening.getsockname())
        sock = transport.get_extra_info("socket")
        with pytest.raises(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, 9999, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        transport.abort()


async def test_a_class_in_socket_s_place_is_used_for_what_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accepted: list[Any] = []

    class Seen(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.append(transport.get_extra_info("socket"))

    class Guard(socket.socket):
        pass

    server = await loop.create_server(Seen, "127.0.0.1", 0)
    plain = socket.socket
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", Guard)
        with plain() as client:
            client.connect(server.sockets[0].getsockname())
            while not accepted:
                await asyncio.sleep(0)
            assert accepted[0].getpeername() == client.getsockname()
    server.close()
    while accepted[0].fileno() >= 0:
        await asyncio.sleep(0)


async def test_a_socket_with_a_timeout_becomes_non_blocking() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.settimeout(5)
        transport: Any
        transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(Recorder, ours)
        assert transport.get_extra_info("socket").gettimeout() == 0
        transport.abort()
        await protocol.lost()


async def test_a_multipath_connection_carries_data() -> None:
    """A short read of one proves nothing: what looks like the end of the data may be that of a message."""
    with listening_socket() as listening:
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        except OSError:
            pytest.skip("this kernel has no MPTCP")
        sock.connect(listening.getsockname())
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Recorder, sock=sock)
        with listening.accept()[0] as peer:
            for part in (b"one", b"two"):
                peer.sendall(part)
                await protocol.called("data_received", 1 if part == b"one" else 2)
            assert protocol.received == b"onetwo"
            transport.write(b"three")
            assert await loop.run_in_executor(None, peer.recv, 100) == b"three"
            transport.abort()
            await protocol.lost()
