"""Bytes and system calls of sock_* calls, files, pipes and datagrams are counted like those of stream transports."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from typing import Any

import pytest
from datagram_endpoints import endpoint, name_of, plain_socket
from sockets import Pair

import edgeloop
from edgeloop import Stats

pytestmark = pytest.mark.edgeloop_only

BIG = 4 << 20  # more than a socket's buffers take


def since(before: Stats) -> Stats:
    return edgeloop.stats(asyncio.get_running_loop()) - before


def before() -> Stats:
    return edgeloop.stats(asyncio.get_running_loop())


@pytest.fixture
def plain_pair(pair: Pair) -> Pair:
    for sock in pair:
        sock.setblocking(False)
    return pair


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
@pytest.mark.parametrize("into", [False, True], ids=["sock_recv", "sock_recv_into"])
async def test_what_sock_calls_receive_is_counted(plain_pair: Pair, waits: bool, into: bool) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = plain_pair
    earlier = before()
    if waits:
        loop.call_soon(theirs.send, b"hello")
    else:
        theirs.send(b"hello")
    if into:
        assert await loop.sock_recv_into(ours, bytearray(100)) == 5
    else:
        assert await loop.sock_recv(ours, 100) == b"hello"
    counted = since(earlier)
    assert (counted.bytes_in, counted.system_calls.recv) == (5, 2 if waits else 1)
    assert (counted.bytes_out, counted.system_calls.send) == (0, 0)


async def test_what_sock_sendall_sends_is_counted_in_all_its_parts(plain_pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = plain_pair
    earlier = before()
    sending = asyncio.ensure_future(loop.sock_sendall(ours, bytes(BIG)))
    left = BIG
    while left:
        left -= len(await loop.sock_recv(theirs, left))
    await sending
    counted = since(earlier)
    assert (counted.bytes_in, counted.bytes_out) == (BIG, BIG)
    assert counted.system_calls.send > 1


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
async def test_datagrams_of_sock_calls_are_counted(waits: bool) -> None:
    loop = asyncio.get_running_loop()
    with plain_socket() as ours, plain_socket() as theirs:
        earlier = before()
        receiving = asyncio.ensure_future(loop.sock_recvfrom(ours, 100)) if waits else None
        await asyncio.sleep(0)
        assert await loop.sock_sendto(theirs, b"hello", ours.getsockname()) == 5
        data, _ = await (receiving or loop.sock_recvfrom(ours, 100))
        assert data == b"hello"
        counted = since(earlier)
        assert (counted.bytes_in, counted.bytes_out, counted.system_calls.send) == (5, 5, 1)
        await loop.sock_sendto(theirs, b"again", ours.getsockname())
        assert (await loop.sock_recvfrom_into(ours, bytearray(100)))[0] == 5
        assert since(earlier).bytes_in == 10


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
async def test_connections_of_sock_accept_are_counted(waits: bool) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        server.setblocking(False)
        client.setblocking(False)
        earlier = before()
        accepting = asyncio.ensure_future(loop.sock_accept(server)) if waits else None
        await asyncio.sleep(0)
        await loop.sock_connect(client, server.getsockname())
        accepted, _ = await (accepting or loop.sock_accept(server))
        with accepted:
            counted = since(earlier)
        assert (counted.accepts, counted.bytes_in, counted.system_calls.recv) == (1, 0, 0)
        assert counted.system_calls.accept >= 1


@pytest.mark.parametrize("by", ["transport", "sock_sendfile", "fallback"])
async def test_files_that_are_sent_are_counted_once(plain_pair: Pair, by: str) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = plain_pair
    with tempfile.TemporaryFile() as file:
        file.write(bytes(BIG))
        file.seek(0)
        earlier = before()
        transport: Any = None
        if by == "sock_sendfile":
            sending = asyncio.ensure_future(loop.sock_sendfile(ours, file))
        else:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            if by == "fallback":
                transport.set_protocol(asyncio.Protocol())
                sent = loop._sendfile_fallback(transport, file, 0, None)  # type: ignore[attr-defined]
            else:
                sent = loop.sendfile(transport, file)
            sending = asyncio.ensure_future(sent)
        left = BIG
        while left:
            left -= len(await loop.sock_recv(theirs, left))
        assert await sending == BIG
        counted = since(earlier)
        assert (counted.bytes_in, counted.bytes_out) == (BIG, BIG)
        assert (counted.system_calls.sendfile > 1) is (by != "fallback")
        if transport is not None:
            transport.abort()
            await asyncio.sleep(0)


async def test_bytes_and_system_calls_of_pipes_are_counted() -> None:
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    class Reading(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            arrived.set_result(data)

    reader, writer = os.pipe()
    earlier = before()
    source, _ = await loop.connect_read_pipe(Reading, os.fdopen(reader, "rb", 0))
    target, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writer, "wb", 0))
    target.write(b"hello")
    assert await arrived == b"hello"
    counted = since(earlier)
    assert (counted.bytes_in, counted.bytes_out) == (5, 5)
    assert counted.system_calls.read >= 1
    assert counted.system_calls.write == 1
    assert (counted.system_calls.recv, counted.system_calls.send) == (0, 0)
    target.close()
    source.close()
    await asyncio.sleep(0)


class Together(asyncio.DatagramProtocol):
    """Gets its datagrams in lists."""

    def __init__(self) -> None:
        self.size = 0
        self.arrived = asyncio.get_running_loop().create_future()

    def datagrams_received(self, datagrams: list[tuple[bytes, Any]]) -> None:
        self.size += sum(len(data) for data, _ in datagrams)
        if self.size == 500 and not self.arrived.done():
            self.arrived.set_result(None)


async def test_datagrams_that_come_in_lists_are_counted() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Together, local_addr=("127.0.0.1", 0))
    earlier = before()
    with plain_socket() as sock:
        for _ in range(50):
            sock.sendto(b"0123456789", name_of(transport))
        await protocol.arrived
    counted = since(earlier)
    assert counted.bytes_in == 500
    assert 1 <= counted.system_calls.recv <= 50  # recvmmsg(2): several with each
    transport.abort()
    await asyncio.sleep(0)


async def test_a_datagram_that_is_refused_is_not_among_the_bytes() -> None:
    async with endpoint(local_addr=("127.0.0.1", 0)) as (transport, protocol):
        earlier = before()
        here = name_of(transport)
        for data in (b"12345", bytes(70_000), b"12345"):  # the second is longer than a datagram can be: EMSGSIZE
            transport.sendto(data, here)
        await protocol.until(lambda: len(protocol.data) == 2 and bool(protocol.errors))
        counted = since(earlier)
        assert (counted.bytes_in, counted.bytes_out) == (10, 10)
