"""A read that brought less than was asked for, though more waits: marks of urgent data, descriptors, credentials (rule 2)."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, attach, until
from sockets import Pair, send_from_another_process, tcp_pair, unix_pair


class Buffered(BufferRecorder):
    size = 65536


class Items(BufferRecorder):
    """Its buffer's items are of four bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.items = array.array("I", [0] * 100)

    def get_buffer(self, sizehint: int) -> Any:
        return self.items

    def buffer_updated(self, nbytes: int) -> None:
        self.received += bytes(memoryview(self.items).cast("B")[:nbytes])


class Table(Items):
    """Its buffer has two dimensions."""

    def get_buffer(self, sizehint: int) -> Any:
        return memoryview(self.items).cast("B").cast("B", (40, 10))


PROTOCOLS = pytest.mark.parametrize("protocol", [Recorder, Buffered])


def synch(sock: socket.socket) -> None:
    """Telnet's: a mark in the middle of what is sent."""
    sock.sendall(b"one")
    sock.send(b"!", socket.MSG_OOB)
    sock.sendall(b"two")


PAIRS = pytest.mark.parametrize("pair", [tcp_pair, unix_pair], ids=["tcp", "unix"])


@PAIRS
@PROTOCOLS
@pytest.mark.parametrize("inline", [False, True], ids=["out of line", "inline"])
async def test_what_follows_urgent_data_arrives(protocol: type[Any], pair: Callable[[], Pair], inline: bool) -> None:
    """All of it is there before the first event."""
    ours, theirs = pair()
    with theirs:
        if inline:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        expected = b"one!two" if inline else b"onetwo"
        receiving = protocol()
        transport = await attach(ours, receiving)
        for times in range(1, 4):
            synch(theirs)
            await until(lambda: len(receiving.received) >= len(expected) * times)  # noqa: B023
            assert receiving.received == expected * times
        theirs.sendall(b"plain")
        await until(lambda: receiving.received.endswith(b"plain"))
        transport.abort()


@PAIRS
@PROTOCOLS
async def test_urgent_data_that_comes_between_the_event_and_the_read(
    loop: asyncio.AbstractEventLoop,
    protocol: type[Any],
    pair: Callable[[], Pair],
) -> None:
    """The event that is read for did not carry it, and the read is cut short by it."""
    ours, theirs = pair()
    first, first_peer = socket.socketpair()
    with theirs, first_peer:

        class Meddler(asyncio.Protocol):
            """Its event comes first, in the same batch."""

            def data_received(self, data: bytes) -> None:
                theirs.send(b"!", socket.MSG_OOB)
                theirs.sendall(b"two")

        meddling = await attach(first, Meddler())
        receiving = protocol()
        transport = await attach(ours, receiving)
        first_peer.sendall(b"?")
        theirs.sendall(b"one")
        await until(lambda: len(receiving.received) >= 6)
        assert receiving.received == b"onetwo"
        transport.abort()
        meddling.abort()


async def test_an_urgent_byte_is_left_for_who_asks_for_it() -> None:
    """As long as nothing follows, there is nothing to read for anybody else, tcp(7)."""
    ours, theirs = tcp_pair()
    with theirs:
        receiving = Recorder()
        transport = await attach(ours, receiving)
        theirs.sendall(b"one")
        theirs.send(b"!", socket.MSG_OOB)
        await until(lambda: len(receiving.received) >= 3)
        await asyncio.sleep(0.02)
        assert receiving.received == b"one"
        assert ours.recv(1, socket.MSG_OOB) == b"!"
        theirs.sendall(b"two")
        await until(lambda: receiving.received == b"onetwo")
        transport.abort()


@pytest.mark.edgeloop_only  # a level-triggered loop sleeps too, but has no turns to count
async def test_an_urgent_byte_that_nobody_reads_does_not_keep_the_loop_awake() -> None:
    loop: Any = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    with theirs:
        transport = await attach(ours, Recorder())
        theirs.sendall(b"one")
        theirs.send(b"!", socket.MSG_OOB)
        await asyncio.sleep(0.02)
        before = loop.reactor.iteration
        await asyncio.sleep(0.1)
        assert loop.reactor.iteration - before <= 5
        transport.abort()


async def test_the_end_after_urgent_data(streams: Any) -> None:
    ours, theirs = tcp_pair()
    reader, writer = await streams.open_connection(sock=ours)
    synch(theirs)
    theirs.close()
    assert await reader.read() == b"onetwo"
    writer.close()


async def test_urgent_data_at_a_server(streams: Any) -> None:
    """Its connections have no socket object."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[bytes] = loop.create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.set_result(await reader.readexactly(6))
        writer.close()

    server = await streams.start_server(serve, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        await asyncio.sleep(0.01)
        synch(client)
        async with asyncio.timeout(10):
            assert await found == b"onetwo"
    server.close()


@PROTOCOLS
@pytest.mark.parametrize("accepted", [False, True], ids=["given", "accepted"])
async def test_what_follows_descriptors_arrives_and_they_are_closed(
    protocol: type[Any], accepted: bool, tmp_path: Any
) -> None:
    """Nobody can ask for them: that they don't leak, the watch over descriptors sees."""
    loop = asyncio.get_running_loop()
    receiving = protocol()
    if accepted:
        path = str(tmp_path / "socket")
        server = await loop.create_unix_server(lambda: receiving, path)
        theirs = socket.socket(socket.AF_UNIX)
        theirs.connect(path)
    else:
        ours, theirs = socket.socketpair()
        transport = await attach(ours, receiving)
    with theirs:
        await asyncio.sleep(0.01)
        for times in range(1, 4):
            socket.send_fds(theirs, [b"one"], [0, 1])
            theirs.sendall(b"two")
            socket.send_fds(theirs, [b"three"], [0])
            theirs.sendall(b"four")
            await until(lambda: len(receiving.received) >= 15 * times)  # noqa: B023
            assert receiving.received == b"onetwothreefour" * times
    if accepted:
        server.close()
        await asyncio.sleep(0.01)
    else:
        transport.abort()


@PROTOCOLS
async def test_what_another_process_wrote_arrives(protocol: type[Any]) -> None:
    """With SO_PASSCRED the kernel never joins what different writers wrote, unix(7)."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        receiving = protocol()
        transport = await attach(ours, receiving)
        theirs.sendall(b"one")
        send_from_another_process(theirs, b"two")
        theirs.sendall(b"three")
        await until(lambda: len(receiving.received) >= 11)
        assert receiving.received == b"onetwothree"
        transport.abort()


@pytest.mark.parametrize("protocol", [Items, Table])
async def test_a_buffer_whose_items_are_no_bytes(protocol: type[Any]) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        data = os.urandom(20_000)
        theirs.sendall(data)
        receiving = protocol()
        transport = await attach(ours, receiving)
        await until(lambda: len(receiving.received) >= len(data))
        assert receiving.received == data
        transport.abort()


@pytest.mark.edgeloop_only  # asyncio's loop waits in the call
async def test_a_socket_that_somebody_set_to_block_holds_nobody_up() -> None:
    """Whether it is empty or full: with the GIL held, who would make room in this process could not."""
    ours, theirs = socket.socketpair()
    with theirs:
        receiving = Recorder()
        transport = await attach(ours, receiving)
        os.set_blocking(ours.fileno(), True)
        theirs.sendall(b"hello")
        await until(lambda: receiving.received == b"hello")
        transport.write(bytes(4_000_000))
        assert transport.get_write_buffer_size() > 0
        transport.abort()
