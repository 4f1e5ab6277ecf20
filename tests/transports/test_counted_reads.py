"""How many system calls a read takes: where a short one empties the socket, no second one asks (rule 2)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, turns
from sockets import Pair, tcp_pair, unix_pair

import edgeloop

pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather]  # asyncio counts nothing; weather makes reads short

PROTOCOLS = pytest.mark.parametrize("protocol", [Recorder, BufferRecorder])


class OwnSocket(socket.socket):
    """Of a program's own class: what its ``recv`` would do is not known."""


def own_pair() -> Pair:
    ours, theirs = unix_pair()
    sock = OwnSocket(fileno=ours.detach())
    sock.setblocking(False)
    return sock, theirs


async def reads_of(pair: Pair, protocol: Callable[[], Any], *messages: bytes) -> tuple[int, int]:
    """Have each message sent and received. Return how many reads that took, and how many bytes were counted."""
    loop = asyncio.get_running_loop()
    ours, theirs = pair
    transport, receiving = await loop.create_connection(protocol, sock=ours)
    await turns(3)
    before = edgeloop.stats(loop)
    size = 0
    for message in messages:
        theirs.sendall(message)
        size += len(message)
        await receiving.bytes_in(size)
        await turns(5)
    counted = edgeloop.stats(loop) - before
    transport.abort()
    await receiving.lost()
    theirs.close()
    return counted.system_calls.recv, counted.bytes_in


@PROTOCOLS
@pytest.mark.parametrize("make", [tcp_pair, unix_pair])
async def test_a_short_read_is_the_only_one(make: Callable[[], Pair], protocol: Callable[[], Any]) -> None:
    assert await reads_of(make(), protocol, b"abc", b"defg", b"h") == (3, 8)


@PROTOCOLS
async def test_a_socket_of_a_programs_own_class_is_read_to_the_end(protocol: Callable[[], Any]) -> None:
    assert await reads_of(own_pair(), protocol, b"abc", b"defg") == (4, 7)


async def test_a_buffer_that_was_filled_says_nothing() -> None:
    """The next read finds the socket empty."""
    assert await reads_of(tcp_pair(), BufferRecorder, bytes(BufferRecorder.size), b"abc") == (3, 1003)
