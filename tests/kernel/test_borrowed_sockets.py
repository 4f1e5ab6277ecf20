"""A socket object for somebody else's descriptor: PyPy's sets the file to block, and a loop that reads it would hang."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from sockets import unix_pair

from edgeloop.kernel.connection_socket import borrowed_socket

pytestmark = pytest.mark.edgeloop_only


@pytest.mark.parametrize("blocking", [False, True])
def test_a_borrowed_descriptor_blocks_or_not_as_before(blocking: bool) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(blocking)
        borrowed = borrowed_socket(one.fileno())
        assert borrowed.type == socket.SOCK_STREAM
        assert borrowed.detach() == one.fileno()
        assert os.get_blocking(one.fileno()) == blocking


async def test_asking_for_an_address_leaves_the_socket_non_blocking(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = unix_pair()
    with theirs:
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        transport.get_extra_info("sockname")
        assert not os.get_blocking(ours.fileno())
        transport.abort()
        await asyncio.sleep(0)


async def test_a_pipe_transport_of_a_socket_is_non_blocking(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = unix_pair()
    with theirs:
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, ours)
        assert not os.get_blocking(ours.fileno())
        transport.abort()
        await asyncio.sleep(0)
