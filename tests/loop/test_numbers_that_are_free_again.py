"""A program closes a file that it has given to a transport; the number is another's then, which can be registered (rule 9).

Found by tests/simulation.
"""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

# asyncio refuses the number of a socket until the transport is closed, and takes a pipe's registration for the new one.
pytestmark = pytest.mark.edgeloop_only


async def heard(sock: socket.socket, peer: socket.socket) -> bytes:
    """What a reader of ``sock`` gets when the peer sends."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[bytes] = loop.create_future()
    loop.add_reader(sock, lambda: came.set_result(sock.recv(10)) if not came.done() else None)
    try:
        peer.send(b"heard")
        return await came
    finally:
        loop.remove_reader(sock)


async def test_of_a_pipe() -> None:
    reading, writing = os.pipe()
    file = os.fdopen(reading, "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(asyncio.Protocol, file)
    file.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert ours.fileno() == reading
        assert await heard(ours, theirs) == b"heard"
        transport.close()
        await asyncio.sleep(0)
        assert await heard(ours, theirs) == b"heard"
    os.close(writing)


async def test_of_a_datagram_socket() -> None:
    given = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    given.bind(("127.0.0.1", 0))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, sock=given)
    number = given.fileno()
    given.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert ours.fileno() == number
        assert await heard(ours, theirs) == b"heard"
        transport.close()
        await asyncio.sleep(0)
        assert await heard(ours, theirs) == b"heard"
