"""The sockets that a loop makes for its connections, and what a program gets of them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from recording import Recorder
from sockets import listening_socket


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
