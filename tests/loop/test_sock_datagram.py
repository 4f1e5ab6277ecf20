"""The sock_* coroutines on datagram sockets: recvfrom, recvfrom_into, sendto."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from sockets import Pair


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two UDP sockets, bound, not connected."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as ours, socket.socket(family, socket.SOCK_DGRAM) as theirs:
        for sock in (ours, theirs):
            sock.bind((request.param, 0))
            sock.setblocking(False)
        yield ours, theirs


async def test_recvfrom(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    receiving = asyncio.ensure_future(loop.sock_recvfrom(ours, 100))
    await asyncio.sleep(0)
    assert not receiving.done()
    theirs.sendto(b"datagram", ours.getsockname())
    assert await receiving == (b"datagram", theirs.getsockname())
    theirs.sendto(b"", ours.getsockname())
    assert await loop.sock_recvfrom(ours, 100) == (b"", theirs.getsockname())


async def test_recvfrom_cuts_what_is_too_long(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendto(b"0123456789", ours.getsockname())
    theirs.sendto(b"next", ours.getsockname())
    assert (await loop.sock_recvfrom(ours, 4))[0] == b"0123"
    assert (await loop.sock_recvfrom(ours, 4))[0] == b"next"


async def test_recvfrom_into(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    buffer = bytearray(b"." * 10)
    receiving = asyncio.ensure_future(loop.sock_recvfrom_into(ours, buffer))
    await asyncio.sleep(0)
    theirs.sendto(b"datagram", ours.getsockname())
    assert await receiving == (8, theirs.getsockname())
    assert buffer == b"datagram.."
    theirs.sendto(b"DATAGRAM", ours.getsockname())
    assert await loop.sock_recvfrom_into(ours, buffer, 4) == (4, theirs.getsockname())
    assert buffer == b"DATAgram.."


async def test_recvfrom_into_a_buffer_that_is_too_small(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendto(b"data", ours.getsockname())
    with pytest.raises(ValueError, match="nbytes is greater than the length of the buffer"):
        await loop.sock_recvfrom_into(ours, bytearray(4), 100)


async def test_sendto(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    assert await loop.sock_sendto(ours, b"datagram", theirs.getsockname()) == 8
    assert await loop.sock_recvfrom(theirs, 100) == (b"datagram", ours.getsockname())
    assert await loop.sock_sendto(ours, memoryview(b"view"), theirs.getsockname()) == 4
    assert await loop.sock_recvfrom(theirs, 100) == (b"view", ours.getsockname())


async def test_sendto_too_much_or_nonsense(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    text: Any = "text"
    nowhere: Any = 42

    ours, theirs = pair
    with pytest.raises(OSError, match="Message too long"):
        await loop.sock_sendto(ours, bytes(70_000), theirs.getsockname())
    with pytest.raises(TypeError):
        await loop.sock_sendto(ours, text, theirs.getsockname())
    with pytest.raises(TypeError):
        await loop.sock_sendto(ours, b"data", nowhere)


async def test_a_refusal_comes_back(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    """A connected UDP socket gets the ICMP error of its last datagram (udp(7))."""
    ours, theirs = pair
    ours.connect(theirs.getsockname())
    theirs.close()
    receiving = asyncio.ensure_future(loop.sock_recv(ours, 100))
    await asyncio.sleep(0)
    ours.send(b"nobody there")
    with pytest.raises(ConnectionRefusedError):
        await receiving


async def test_sendto_waits_for_space(loop: asyncio.AbstractEventLoop) -> None:
    """Unix datagrams are never dropped: a full receiver makes the sender wait (unix(7))."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        name = f"\0edgeloop-datagram-{os.getpid()}"
        theirs.bind(name)
        for sock in (ours, theirs):
            sock.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.sendto(b"%d" % sent, name)
                sent += 1
        sending = asyncio.ensure_future(loop.sock_sendto(ours, b"last", name))
        await asyncio.sleep(0.005)
        assert not sending.done()
        received = [await loop.sock_recv(theirs, 100) for _ in range(sent)]
        assert received == [b"%d" % number for number in range(sent)]
        assert await sending == 4
        assert await loop.sock_recv(theirs, 100) == b"last"


async def test_many_datagrams_in_order(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    for number in range(300):
        await loop.sock_sendto(ours, b"%d" % number, theirs.getsockname())
        data, address = await loop.sock_recvfrom(theirs, 100)
        assert (data, address) == (b"%d" % number, ours.getsockname())
