"""The reader of edgeloop.streams, in ways that its agreement with asyncio's does not show. The control run tests asyncio's."""

from __future__ import annotations

import asyncio
import socket
import weakref
from typing import Any

import pytest
from stream_conversations import close, pair, upper


async def test_the_reader_holds_the_peer_back(streams: Any) -> None:
    """What is not read stays within twice the limit and a buffer of the transport; reading lets the rest come."""
    total = 4 * 2**20

    async def serve(reader: Any, writer: Any) -> None:
        writer.write(bytes(total))
        writer.close()
        await writer.wait_closed()

    server = await streams.start_server(serve, "127.0.0.1", 0)
    reader, writer = await streams.open_connection(*server.sockets[0].getsockname(), limit=1000)
    while not reader._paused:
        await asyncio.sleep(0)
    assert not writer.transport.is_reading()
    assert 2000 < len(reader._buffer) <= 2000 + 2**18
    assert len(await reader.read()) == total
    await close(server, writer)


async def test_lines_and_pieces_in_one_conversation(streams: Any) -> None:
    """Every way to read, on data that came in one piece: nothing is lost between them."""

    async def serve(reader: Any, writer: Any) -> None:
        writer.write(b"first\nsecond\r\nabcdefghij\nlast")
        writer.close()

    server, reader, writer = await pair(streams, serve)
    assert await reader.readline() == b"first\n"
    assert await reader.readuntil(b"\r\n") == b"second\r\n"
    assert await reader.readexactly(3) == b"abc"
    assert await reader.read(2) == b"de"
    assert [line async for line in reader] == [b"fghij\n", b"last"]
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await reader.readexactly(1)
    assert (caught.value.partial, caught.value.expected) == (b"", 1)
    await close(server, writer)


async def test_two_readers_at_once(streams: Any) -> None:
    reader = streams.StreamReader(loop=asyncio.get_running_loop())
    first = asyncio.ensure_future(reader.readline())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=r"^read\(\) called while another coroutine is already waiting"):
        await reader.read(1)
    first.cancel()
    await asyncio.sleep(0)
    reader.feed_data(b"hello\n")  # cancelled, it has taken nothing
    assert await reader.read(100) == b"hello\n"


async def test_a_cancelled_read_takes_nothing(streams: Any) -> None:
    server, reader, writer = await pair(streams, upper)
    for read in (reader.read(10), reader.readline(), reader.readexactly(3), reader.readuntil(b"x")):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await read
        assert reader._waiter is None
    writer.write(b"hello\n")
    assert await reader.readline() == b"HELLO\n"
    await close(server, writer)


async def test_readers_and_writers_are_ordinary_objects(streams: Any) -> None:
    server, reader, writer = await pair(streams, upper)
    objects: tuple[Any, ...] = (reader, writer, writer._protocol)
    for one in objects:
        referred = weakref.ref(one)()
        assert id(referred) == id(one)
        one.anything = 5
        assert one.anything == 5
    reader._limit = 10  # programs are known to do that
    writer.write(b"12345678901234567890\n")
    with pytest.raises(ValueError, match=r"^Separator is found, but chunk is longer than limit$"):
        await reader.readline()
    await close(server, writer)


async def test_a_subclass(streams: Any) -> None:
    class Counting(streams.StreamReader):  # type: ignore[misc]
        fed = 0

        def feed_data(self, data: bytes) -> None:
            self.fed += len(data)
            super().feed_data(data)

    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with theirs:
        reader = Counting(loop=loop)
        await loop.create_connection(lambda: streams.StreamReaderProtocol(reader, loop=loop), sock=ours)
        theirs.sendall(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert reader.fed == 5
        reader._transport.close()
        await reader.read()


async def test_debug_mode_remembers_where_a_reader_was_made(streams: Any) -> None:
    loop = asyncio.get_running_loop()
    assert streams.StreamReader(loop=loop)._source_traceback is None
    loop.set_debug(True)
    here = streams.StreamReader(loop=loop)._source_traceback[-1]
    assert here.name == "test_debug_mode_remembers_where_a_reader_was_made"


@pytest.mark.parametrize("limit", [0, -1])
async def test_no_limit_below_one(streams: Any, limit: int) -> None:
    with pytest.raises(ValueError, match=r"^Limit cannot be <= 0$"):
        streams.StreamReader(limit)


async def test_an_array_that_was_looked_at_stays_the_same(streams: Any) -> None:
    """Programs hold on to ``_buffer``, to search in it or to put bytes back."""
    reader = streams.StreamReader(loop=asyncio.get_running_loop())
    reader.feed_data(b"ab")
    array = reader._buffer
    assert await reader.read(10) == b"ab"
    reader.feed_data(b"cd")
    assert array == b"cd"
    array[:0] = b"xy"
    assert await reader.readexactly(3) == b"xyc"
    assert array == b"d"
