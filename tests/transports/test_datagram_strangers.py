"""A given socket that its owner closes or detaches behind the endpoint's back: the number may be a stranger's by then."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

import pytest
from datagram_endpoints import LOCAL, DatagramRecorder, plain_socket
from recording import turns

Loop = asyncio.AbstractEventLoop


async def given(loop: Loop, factory: Any = DatagramRecorder) -> tuple[socket.socket, Any, Any]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(LOCAL)
    transport, protocol = await loop.create_datagram_endpoint(factory, sock=sock)
    return sock, transport, protocol


async def closed(transport: Any, protocol: Any) -> None:
    """Close; the end is told once, and as after any other close."""
    transport.close()
    assert await protocol.lost() is None
    await asyncio.sleep(0)
    assert protocol.calls.count("connection_lost") == 1


async def test_a_datagram_is_not_sent_by_a_stranger(loop: Loop) -> None:
    with plain_socket() as peer, plain_socket() as stranger:
        sock, transport, protocol = await given(loop)
        fd = sock.fileno()
        sock.close()
        os.dup2(stranger.fileno(), fd)
        for _ in range(3):
            transport.sendto(b"secret", peer.getsockname())
        await protocol.called("error_received", 3)
        assert {error.errno for error in protocol.errors} == {errno.EBADF}
        with pytest.raises(BlockingIOError):
            peer.recv(100)
        await closed(transport, protocol)
        os.fstat(fd)
        os.close(fd)


@pytest.mark.edgeloop_only  # asyncio gathers nothing
async def test_gathered_answers_are_not_sent_by_a_stranger(loop: Loop) -> None:
    sock: Any = None
    numbers: list[int] = []

    class Closing(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.endpoint.sendto(data, addr)
            if len(self.datagrams) == 3:
                fd = sock.fileno()
                sock.close()
                os.dup2(stranger.fileno(), fd)
                numbers.append(fd)

    with plain_socket() as peer, plain_socket() as stranger:
        sock, transport, protocol = await given(loop, Closing)
        address = sock.getsockname()
        for _ in range(3):
            peer.sendto(b"question", address)
        await protocol.arrived(3)
        await turns()
        try:
            while True:
                assert peer.recvfrom(100)[1] == address
        except BlockingIOError:
            pass
        await closed(transport, protocol)
        os.close(numbers[0])


@pytest.mark.parametrize("detached", [False, True])
async def test_a_strangers_datagrams_are_not_taken(loop: Loop, detached: bool) -> None:
    with plain_socket() as peer:
        sock, transport, protocol = await given(loop)
        if detached:
            address = sock.getsockname()
            stranger = socket.socket(fileno=sock.detach())
        else:
            fd = sock.fileno()
            with plain_socket() as other:
                sock.close()
                os.dup2(other.fileno(), fd)
                address = other.getsockname()
                stranger = socket.socket(fileno=fd)
        stranger.setblocking(False)
        with stranger:
            peer.sendto(b"not for us", address)
            await turns()
            assert protocol.datagrams == []
            assert stranger.recv(100) == b"not for us"
            await closed(transport, protocol)
            assert stranger.fileno() >= 0
            peer.sendto(b"still not", address)
            assert stranger.recv(100) == b"still not"


@pytest.mark.edgeloop_only  # asyncio registers whoever has the number
async def test_a_stranger_is_not_registered(loop: Loop) -> None:
    sock: Any = None
    numbers: list[int] = []

    class Closing(DatagramRecorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            numbers.append(sock.fileno())
            sock.close()
            os.dup2(stranger.fileno(), numbers[0])

    with plain_socket() as peer, plain_socket() as stranger:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(LOCAL)
        transport, protocol = await loop.create_datagram_endpoint(Closing, sock=sock)
        peer.sendto(b"not for us", stranger.getsockname())
        error = await protocol.lost()
        assert isinstance(error, OSError)
        assert error.errno == errno.EBADF
        assert protocol.datagrams == []
        assert stranger.recv(100) == b"not for us"
        await turns()
        assert transport.is_closing()
        os.close(numbers[0])


async def test_a_stranger_that_the_loop_reads_goes_on(loop: Loop) -> None:
    """It is registered under the same number; the end of the endpoint leaves that registration alone."""
    with plain_socket() as peer:
        sock, transport, protocol = await given(loop)
        fd = sock.fileno()
        with plain_socket() as other:
            sock.close()
            os.dup2(other.fileno(), fd)
            address = other.getsockname()
        transport.close()
        assert await protocol.lost() is None
        await asyncio.sleep(0)
        second, lively = await loop.create_datagram_endpoint(DatagramRecorder, sock=socket.socket(fileno=fd))
        peer.sendto(b"heard", address)
        assert await lively.arrived(1) == [b"heard"]
        second.close()
        await lively.lost()
        await asyncio.sleep(0)
