"""Destructors that use the transport in the middle of what it does: of protocols, and whenever the collector runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eager_collector import eager_collector
from recording import BufferRecorder, Recorder, Run, connected, receive, receive_all

pytestmark = pytest.mark.counts_references


class Last(asyncio.Protocol):
    """Does something when it is dropped."""

    def __init__(self, at_the_end: Callable[[], object]) -> None:
        self.at_the_end = at_the_end

    def __del__(self) -> None:
        self.at_the_end()


class Buffered(BufferRecorder):
    size = 100


async def test_a_dropped_protocol_that_sets_another() -> None:
    """The last one to be set is in charge, and is called as what it is."""
    async with connected(Recorder) as (transport, _, peer):
        buffered = Buffered()
        transport.set_protocol(Last(lambda: transport.set_protocol(buffered)))
        transport.set_protocol(asyncio.Protocol())
        assert transport.get_protocol() is buffered
        peer.sendall(b"data")
        while buffered.received != b"data":
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("name", ["close", "abort", "write_eof"])
async def test_a_dropped_protocol_that_ends_the_transport(name: str) -> None:
    async with connected(Recorder) as (transport, _, peer):
        transport.set_protocol(Last(lambda: getattr(transport, name)()))
        transport.write(b"before")
        recorder = Recorder()
        transport.set_protocol(recorder)
        assert await receive(peer, 6) == b"before"
        if name != "write_eof":
            await recorder.lost()


def test_a_protocol_that_is_dropped_at_the_end(run: Run) -> None:
    """Its destructor finds a transport that is over."""
    seen: list[Any] = []

    async def main() -> None:
        ours, peer = socket.socketpair()
        with peer:
            transport: Any

            def look() -> None:
                transport.write(b"too late")
                transport.close()
                transport.abort()
                seen.append((transport.is_closing(), transport.get_extra_info("socket").fileno()))

            transport, _ = await asyncio.get_running_loop().create_connection(lambda: Last(look), sock=ours)
            transport.close()
            del _
            await asyncio.sleep(0.01)

    run(main())
    assert seen == [(True, -1)]


@pytest.fixture
def busy_collector() -> Iterator[None]:
    with eager_collector(switch_interval=None):
        yield


class Writer:
    """In a cycle, so that the collector alone ends it: at any point of the program."""

    def __init__(self, transport: Any, data: bytes) -> None:
        self.me = self
        self.transport = transport
        self.data = data

    def __del__(self) -> None:
        self.transport.write(self.data)


async def test_destructors_that_write_while_others_write(busy_collector: None) -> None:
    """Nothing is lost, sent twice, or out of its order."""
    rounds = 30

    async with connected(Recorder) as (transport, _, peer):
        sent = 0
        received = bytearray()
        for index in range(rounds):
            Writer(transport, b"(%d)" % index)
            size = 200_000 if index % 10 == 9 else 10  # which the kernel has no room for at once
            transport.write(bytearray(b"." * size))
            transport.writelines([b"[", memoryview(b"%d" % index), b"]"])
            sent += size
            if index % 10 == 9:
                await asyncio.sleep(0)
                received += await receive(peer, 100_000)
        gc.collect()
        transport.write(b"END")
        transport.write_eof()
        received += await receive_all(peer)
        assert received.endswith(b"END")
        assert received.count(b".") == sent
        for index in range(rounds):
            assert received.count(b"(%d)" % index) == 1
        marks = [received.index(b"[%d]" % index) for index in range(rounds)]
        assert marks == sorted(marks)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python code gives a buffer from 3.12 on")
@pytest.mark.parametrize("end", ["abort", "close", "write_eof"])
async def test_a_chunk_that_ends_the_connection_is_not_written_any_more(end: str) -> None:
    transports: list[Any] = []
    ours, peer = socket.socketpair()

    class Chunk(bytearray):
        def __buffer__(self, flags: int) -> memoryview:
            peer.close()  # so that nothing can be sent any more
            getattr(transports[0], end)()
            return super().__buffer__(flags)

    with peer:
        transport, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=ours)
        transports.append(transport)
        with contextlib.suppress(RuntimeError):  # after write_eof()
            transport.writelines([b"first", Chunk(b"chunk"), b"last"])
        await asyncio.sleep(0.01)
        transport.abort()
        await protocol.lost()
        await asyncio.sleep(0.01)
        assert transport.is_closing()  # which offers the kernel what is unsent
        assert transport.get_write_buffer_size() == 0
