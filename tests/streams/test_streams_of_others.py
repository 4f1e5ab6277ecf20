"""Streams that a program puts together itself, and what it does to them by asyncio's private names."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from recording import Recorder, turns
from sockets import Pair


async def waiting_reader(streams: Any) -> tuple[Any, asyncio.Task[bytes]]:
    loop = asyncio.get_running_loop()
    reader = streams.StreamReader(loop=loop)
    task = loop.create_task(reader.read(100))
    await turns()
    return reader, task


@pytest.mark.parametrize("way", ["data", "end", "exception"])
async def test_a_read_that_was_just_cancelled_is_not_ended_twice(streams: Any, way: str) -> None:
    reader, task = await waiting_reader(streams)
    task.cancel()
    if way == "data":
        reader.feed_data(b"data")
    elif way == "end":
        reader.feed_eof()
    else:
        reader.set_exception(ConnectionResetError())
    with pytest.raises(asyncio.CancelledError):
        await task
    if way == "exception":
        with pytest.raises(ConnectionResetError):
            await reader.read(100)
    else:
        assert await reader.read(100) == (b"data" if way == "data" else b"")


async def test_a_read_may_be_woken_for_nothing(streams: Any) -> None:
    reader, task = await waiting_reader(streams)
    reader._wakeup_waiter()
    assert await task == b""


class Source:
    """A transport that says whether it reads; ``refuses`` is raised by pause_reading."""

    def __init__(self, refuses: Exception | None = None) -> None:
        self.paused = 0
        self.refuses = refuses

    def pause_reading(self) -> None:
        self.paused += 1
        if self.refuses is not None:
            raise self.refuses

    def resume_reading(self) -> None:
        self.paused -= 1


async def test_a_transport_is_resumed_by_the_private_name_too(streams: Any) -> None:
    reader = streams.StreamReader(limit=4, loop=asyncio.get_running_loop())
    source = Source()
    reader.set_transport(source)
    reader.feed_data(b"more than twice four")
    assert source.paused == 1
    reader._maybe_resume_transport()
    assert source.paused == 1
    assert await reader.read(100) == b"more than twice four"
    reader._maybe_resume_transport()
    assert source.paused == 0


async def test_a_transport_that_fails_to_pause_is_asked_again(streams: Any) -> None:
    reader = streams.StreamReader(limit=4, loop=asyncio.get_running_loop())
    source = Source(ValueError("not now"))
    reader.set_transport(source)
    for _ in range(2):
        with pytest.raises(ValueError, match="not now"):
            reader.feed_data(b"more than twice four")
    assert source.paused == 2
    assert await reader.read(100) == b"more than twice four" * 2


@pytest.mark.parametrize("whose", ["nobody's", "asyncio's", "another protocol"])
async def test_a_writer_with_what_is_not_of_these_streams_drains(streams: Any, pair: Pair, whose: str) -> None:
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop) if whose == "asyncio's" else None
    protocol: Any = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop)
    if whose == "another protocol":
        protocol = Flow()
    elif whose == "nobody's":
        protocol = streams.StreamReaderProtocol(streams.StreamReader(loop=loop), loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
    writer = streams.StreamWriter(transport, protocol, reader, loop)
    received = loop.create_task(drained(theirs, 3_000_000))
    for _ in range(3):
        writer.write(bytes(1_000_000))
        await writer.drain()
    transport.close()
    assert await received == 3_000_000


class Flow(asyncio.streams.FlowControlMixin, Recorder):
    """A program's protocol: asyncio's flow control, and nothing of a reader."""

    def __init__(self) -> None:
        Recorder.__init__(self)
        asyncio.streams.FlowControlMixin.__init__(self, asyncio.get_running_loop())

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.streams.FlowControlMixin.connection_lost(self, exc)

    pause_writing = asyncio.streams.FlowControlMixin.pause_writing
    resume_writing = asyncio.streams.FlowControlMixin.resume_writing

    def _get_close_waiter(self, stream: Any) -> Any:
        return asyncio.get_running_loop().create_future()


async def drained(sock: socket.socket, count: int) -> int:
    found = 0
    while found < count:
        found += len(await asyncio.get_running_loop().sock_recv(sock, 1 << 20))
    return found
