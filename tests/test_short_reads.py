"""A read that brought less than was asked for, though more waits: marks of urgent data, descriptors, credentials (rule 2)."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from recording import Run


class Plain(asyncio.Protocol):
    """Keeps what came."""

    def __init__(self) -> None:
        self.data = bytearray()

    def data_received(self, data: bytes) -> None:
        self.data += data


class Buffered(asyncio.BufferedProtocol):
    """Keeps what came, through a buffer of its own."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.buffer = bytearray(65536)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]


class Items(Buffered):
    """Its buffer's items are of four bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.items = array.array("I", [0] * 100)

    def get_buffer(self, sizehint: int) -> Any:
        return self.items

    def buffer_updated(self, nbytes: int) -> None:
        self.data += bytes(memoryview(self.items).cast("B")[:nbytes])


class Table(Items):
    """Its buffer has two dimensions."""

    def get_buffer(self, sizehint: int) -> Any:
        return memoryview(self.items).cast("B").cast("B", (40, 10))


PROTOCOLS = pytest.mark.parametrize("protocol", [Plain, Buffered])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        return listening.accept()[0], client


async def attach(protocol: Any, sock: socket.socket) -> Any:
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
    return transport


def synch(sock: socket.socket) -> None:
    """Telnet's: a mark in the middle of what is sent."""
    sock.sendall(b"one")
    sock.send(b"!", socket.MSG_OOB)
    sock.sendall(b"two")


PAIRS = pytest.mark.parametrize("pair", [tcp_pair, socket.socketpair], ids=["tcp", "unix"])


@PAIRS
@PROTOCOLS
@pytest.mark.parametrize("inline", [False, True], ids=["out of line", "inline"])
def test_what_follows_urgent_data_arrives(
    run: Run, protocol: type[Any], pair: Callable[[], tuple[socket.socket, socket.socket]], inline: bool
) -> None:
    """All of it is there before the first event."""

    async def main() -> None:
        ours, theirs = pair()
        with theirs:
            if inline:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            expected = b"one!two" if inline else b"onetwo"
            receiving = protocol()
            transport = await attach(receiving, ours)
            for times in range(1, 4):
                synch(theirs)
                await until(lambda: len(receiving.data) >= len(expected) * times)  # noqa: B023
                assert receiving.data == expected * times
            theirs.sendall(b"plain")
            await until(lambda: receiving.data.endswith(b"plain"))
            transport.abort()

    run(main())


@PAIRS
@PROTOCOLS
def test_urgent_data_that_comes_between_the_event_and_the_read(
    loop: asyncio.AbstractEventLoop,
    run: Run,
    protocol: type[Any],
    pair: Callable[[], tuple[socket.socket, socket.socket]],
) -> None:
    """The event that is read for did not carry it, and the read is cut short by it."""

    async def main() -> None:
        ours, theirs = pair()
        first, first_peer = socket.socketpair()
        with theirs, first_peer:

            class Meddler(asyncio.Protocol):
                """Its event comes first, in the same batch."""

                def data_received(self, data: bytes) -> None:
                    theirs.send(b"!", socket.MSG_OOB)
                    theirs.sendall(b"two")

            meddling = await attach(Meddler(), first)
            receiving = protocol()
            transport = await attach(receiving, ours)
            first_peer.sendall(b"?")
            theirs.sendall(b"one")
            await until(lambda: len(receiving.data) >= 6)
            assert receiving.data == b"onetwo"
            transport.abort()
            meddling.abort()

    run(main())


def test_an_urgent_byte_is_left_for_who_asks_for_it(run: Run) -> None:
    """As long as nothing follows, there is nothing to read for anybody else, tcp(7)."""

    async def main() -> None:
        ours, theirs = tcp_pair()
        with theirs:
            receiving = Plain()
            transport = await attach(receiving, ours)
            theirs.sendall(b"one")
            theirs.send(b"!", socket.MSG_OOB)
            await until(lambda: len(receiving.data) >= 3)
            await asyncio.sleep(0.02)
            assert receiving.data == b"one"
            assert ours.recv(1, socket.MSG_OOB) == b"!"
            theirs.sendall(b"two")
            await until(lambda: receiving.data == b"onetwo")
            transport.abort()

    run(main())


@pytest.mark.edgeloop_only  # a level-triggered loop sleeps too, but has no turns to count
def test_an_urgent_byte_that_nobody_reads_does_not_keep_the_loop_awake(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        ours, theirs = tcp_pair()
        with theirs:
            transport = await attach(Plain(), ours)
            theirs.sendall(b"one")
            theirs.send(b"!", socket.MSG_OOB)
            await asyncio.sleep(0.02)
            before = loop.reactor.iteration
            await asyncio.sleep(0.1)
            assert loop.reactor.iteration - before <= 5
            transport.abort()

    run(main())


def test_the_end_after_urgent_data(run: Run, streams: Any) -> None:
    async def main() -> None:
        ours, theirs = tcp_pair()
        reader, writer = await streams.open_connection(sock=ours)
        synch(theirs)
        theirs.close()
        assert await reader.read() == b"onetwo"
        writer.close()

    run(main())


def test_urgent_data_at_a_server(run: Run, streams: Any) -> None:
    """Its connections have no socket object."""

    async def main() -> None:
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

    run(main())


@PROTOCOLS
@pytest.mark.parametrize("accepted", [False, True], ids=["given", "accepted"])
def test_what_follows_descriptors_arrives_and_they_are_closed(
    run: Run, protocol: type[Any], accepted: bool, tmp_path: Any
) -> None:
    """Nobody can ask for them: that they don't leak, the watch over descriptors sees."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = protocol()
        if accepted:
            path = str(tmp_path / "socket")
            server = await loop.create_unix_server(lambda: receiving, path)
            theirs = socket.socket(socket.AF_UNIX)
            theirs.connect(path)
        else:
            ours, theirs = socket.socketpair()
            transport = await attach(receiving, ours)
        with theirs:
            await asyncio.sleep(0.01)
            for times in range(1, 4):
                socket.send_fds(theirs, [b"one"], [0, 1])
                theirs.sendall(b"two")
                socket.send_fds(theirs, [b"three"], [0])
                theirs.sendall(b"four")
                await until(lambda: len(receiving.data) >= 15 * times)  # noqa: B023
                assert receiving.data == b"onetwothreefour" * times
        if accepted:
            server.close()
            await asyncio.sleep(0.01)
        else:
            transport.abort()

    run(main())


@PROTOCOLS
def test_what_another_process_wrote_arrives(run: Run, protocol: type[Any]) -> None:
    """With SO_PASSCRED the kernel never joins what different writers wrote, unix(7)."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            receiving = protocol()
            transport = await attach(receiving, ours)
            theirs.sendall(b"one")
            child = os.fork()
            if child == 0:
                try:
                    theirs.sendall(b"two")
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            theirs.sendall(b"three")
            await until(lambda: len(receiving.data) >= 11)
            assert receiving.data == b"onetwothree"
            transport.abort()

    run(main())


@pytest.mark.parametrize("protocol", [Items, Table])
def test_a_buffer_whose_items_are_no_bytes(run: Run, protocol: type[Any]) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            data = os.urandom(20_000)
            theirs.sendall(data)
            receiving = protocol()
            transport = await attach(receiving, ours)
            await until(lambda: len(receiving.data) >= len(data))
            assert receiving.data == data
            transport.abort()

    run(main())


@pytest.mark.edgeloop_only  # asyncio's loop waits in the call
def test_a_socket_that_somebody_set_to_block_holds_nobody_up(run: Run) -> None:
    """Whether it is empty or full: with the GIL held, who would make room in this process could not."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            receiving = Plain()
            transport = await attach(receiving, ours)
            os.set_blocking(ours.fileno(), True)
            theirs.sendall(b"hello")
            await until(lambda: receiving.data == b"hello")
            transport.write(bytes(4_000_000))
            assert transport.get_write_buffer_size() > 0
            transport.abort()

    run(main())
