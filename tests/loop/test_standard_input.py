"""Descriptor 0 is a descriptor like others: a number that is false."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest
from recording import turn


@pytest.fixture
def standard_input() -> Iterator[socket.socket]:
    """The other end of what has the number 0 for the length of a test."""
    kept = os.dup(0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        os.dup2(ours.fileno(), 0)
        try:
            yield theirs
        finally:
            os.dup2(kept, 0)
            os.close(kept)


def test_a_reader_of_it_that_leaves_something_is_called_again(
    loop: asyncio.AbstractEventLoop, standard_input: socket.socket
) -> None:
    taken = bytearray()
    loop.add_reader(0, lambda: taken.extend(os.read(0, 1)))
    standard_input.send(b"0123456789")
    turn(loop, 30)
    assert taken == b"0123456789"
    assert loop.remove_reader(0)
    standard_input.send(b"more")
    turn(loop, 3)
    assert taken == b"0123456789"


async def test_what_a_socket_of_this_number_does_not_take_at_once_is_sent_later(
    loop: asyncio.AbstractEventLoop, standard_input: socket.socket
) -> None:
    data = b"0123456789" * 100_000
    with socket.socket(fileno=os.dup(0)) as other, socket.socket(fileno=0) as sock:
        sock.setblocking(False)
        standard_input.setblocking(False)
        sending = loop.create_task(loop.sock_sendall(sock, data))
        received = bytearray()
        while len(received) < len(data):
            received += await loop.sock_recv(standard_input, 100_000)
        await sending
        sock.detach()
        assert other.fileno() != 0
    assert received == data
