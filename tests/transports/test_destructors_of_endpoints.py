"""What pipes and datagram endpoints let go of may run code: destructors, and close() of a file object of the user's."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from datagram_endpoints import DatagramEcho, DatagramRecorder, endpoint, name_of, plain_socket
from eager_collector import eager_collector
from pipe_recording import PipeRecorder, read_all

pytestmark = pytest.mark.counts_references

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """A collection at nearly every allocation, and another thread that wants its turn all the time."""
    over = threading.Event()

    def allocate() -> None:
        while not over.is_set():
            _: list[Any] = [[] for _ in range(10)]

    thread = threading.Thread(target=allocate)
    with eager_collector():
        thread.start()
        yield
        over.set()
        thread.join()


async def test_the_former_protocol_finds_the_new_one(loop: Loop) -> None:
    found: list[Any] = []
    transports: list[Any] = []

    class Former(asyncio.DatagramProtocol, asyncio.Protocol):
        def __del__(self) -> None:
            found.append(transports[0].get_protocol())
            transports[0].close()

    read, write = os.pipe()
    other, writing = os.pipe()
    for connecting in (
        lambda: loop.create_datagram_endpoint(Former, local_addr=("127.0.0.1", 0)),
        lambda: loop.connect_read_pipe(Former, open(read, "rb", 0)),
        lambda: loop.connect_write_pipe(Former, open(writing, "wb", 0)),
    ):
        transports.clear()
        transport, protocol = await connecting()
        transports.append(transport)
        following = PipeRecorder()
        del protocol
        transport.set_protocol(following)
        assert found.pop() is following
        await following.lost()
        await asyncio.sleep(0)
    os.close(write)
    os.close(other)


@pytest.mark.edgeloop_only  # asyncio's own transports are taken apart by then, and raise
async def test_a_protocol_that_goes_at_the_end(loop: Loop) -> None:
    """Its destructor finds a transport that is closed, and may call anything."""
    found: list[Any] = []
    over: asyncio.Future[None] = loop.create_future()

    class Going(asyncio.DatagramProtocol, asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def connection_lost(self, exc: Exception | None) -> None:
            over.set_result(None)

        def __del__(self) -> None:
            transport = self.transport
            found.append(transport.get_protocol())
            transport.close()
            for method, arguments in (
                ("write", (b"late",)),
                ("sendto", (b"late", ("127.0.0.1", 9))),
                ("abort", ()),
                ("resume_reading", ()),
            ):
                try:
                    getattr(transport, method)(*arguments)
                except (AttributeError, NotImplementedError):
                    pass
            found.append(repr(transport))

    read, write = os.pipe()
    other, writing = os.pipe()
    for connecting in (
        lambda: loop.create_datagram_endpoint(Going, local_addr=("127.0.0.1", 0)),
        lambda: loop.connect_read_pipe(Going, open(read, "rb", 0)),
        lambda: loop.connect_write_pipe(Going, open(writing, "wb", 0)),
    ):
        over = loop.create_future()
        (await connecting())[0].close()
        await over
        await asyncio.sleep(0)
        gc.collect()
        protocol, text = found
        assert protocol is None
        assert "closed" in text
        found.clear()
    os.close(write)
    os.close(other)


async def test_addresses_with_destructors(loop: Loop) -> None:
    """Each sends when it is let go of, in the middle of the sending of the others: all arrive, and none twice."""
    left = 200
    transport: Any = None
    target: Any = None

    class Address(tuple[Any, ...]):
        def __del__(self) -> None:
            nonlocal left
            if left:
                left -= 1
                transport.sendto(b"d%d" % left, target)

    with plain_socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        target = peer.getsockname()
        async with endpoint() as (transport, _):
            for number in range(500):
                transport.sendto(b"%d" % number, Address(target))
            received: list[bytes] = []
            while len(received) < 700:
                received.append(await loop.sock_recv(peer, 100))
            plain = [data for data in received if not data.startswith(b"d")]
            assert plain == [b"%d" % number for number in range(500)]
            assert sorted(received) == sorted(plain + [b"d%d" % number for number in range(200)])


@pytest.mark.edgeloop_only  # asyncio's own transport still has its protocol then
async def test_a_file_whose_close_writes(loop: Loop) -> None:
    transport: Any = None

    class File:
        def __init__(self, fd: int) -> None:
            self.fd = fd
            self.found: list[Any] = []

        def fileno(self) -> int:
            return self.fd

        def close(self) -> None:
            if self.fd >= 0:
                self.found.append(transport.get_protocol())
                transport.write(b"late")
                transport.close()
                self.found.append(repr(transport))
                os.close(self.fd)
                self.fd = -1

    read, write = os.pipe()
    os.set_blocking(read, False)
    file = File(write)
    transport, protocol = await loop.connect_write_pipe(PipeRecorder, file)
    transport.write(b"early")
    transport.close()
    await protocol.lost()
    await asyncio.sleep(0)
    assert read_all(read) == b"early"
    assert file.found[0] is None
    assert "closed" in file.found[1]
    os.close(read)


async def test_a_fileno_that_closes_the_transport(loop: Loop) -> None:
    """It is asked before each call, and is the user's code."""

    transport: Any = None

    class File:
        closing = False

        def __init__(self, fd: int) -> None:
            self.fd = fd

        def fileno(self) -> int:
            if self.closing:
                self.closing = False
                transport.abort()
            return self.fd

        def close(self) -> None:
            os.close(self.fd)

    read, write = os.pipe()
    file = File(write)
    transport, protocol = await loop.connect_write_pipe(PipeRecorder, file)
    file.closing = True
    transport.write(b"x")
    transport.close()
    await protocol.lost()
    assert protocol.calls.count("connection_lost") == 1
    os.close(read)


@pytest.mark.usefixtures("busy_collector")
async def test_collections_and_threads_all_the_time(loop: Loop) -> None:
    class Cyclic(DatagramEcho):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            cycle: list[Any] = []
            cycle.append(cycle)

    async with endpoint(Cyclic) as (server, _), endpoint(DatagramRecorder) as (client, protocol):
        for turn in range(20):
            protocol.datagrams.clear()
            for number in range(40):
                client.sendto(b"%d %d" % (turn, number), name_of(server))
            assert await protocol.arrived(40) == [b"%d %d" % (turn, number) for number in range(40)]
    read, write = os.pipe()
    reading, reader = await loop.connect_read_pipe(PipeRecorder, open(read, "rb", 0))
    writing, _ = await loop.connect_write_pipe(PipeRecorder, open(write, "wb", 0))
    data = os.urandom(300_000)
    for start in range(0, len(data), 3000):
        writing.write(data[start : start + 3000])
    assert await reader.bytes_in(len(data)) == data
    writing.close()
    await reader.lost()
    reading.close()
