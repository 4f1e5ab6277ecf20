"""Which method of which protocol is called over TLS: the one that is there at the time, as by the plain transports."""

from __future__ import annotations

import array
import asyncio
import ctypes
from typing import Any

import pytest
from recording import BufferRecorder, Recorder
from tls_peer import secured


async def test_an_assigned_data_received_is_called() -> None:
    class Stages(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.data_received = self.header  # type: ignore[method-assign]

        def header(self, data: bytes) -> None:
            self.received += b"<" + data + b">"
            self.data_received = self.body  # type: ignore[method-assign]
            self.note("header")

        def body(self, data: bytes) -> None:
            self.received += data
            self.note("body")

    async with secured(Stages) as (_, protocol, peer):
        await peer.send(b"head")
        await protocol.called("header")
        await peer.send(b"body")
        await protocol.called("body")
        assert protocol.received == b"<head>body"


@pytest.mark.edgeloop_only  # asyncio's TLS takes these two down when the protocol is set, its plain transports don't
async def test_an_assigned_buffer_is_asked_for() -> None:
    other = bytearray(1000)

    class Assigned(BufferRecorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.get_buffer = lambda sizehint: other  # type: ignore[method-assign]
            self.buffer_updated = self.updated  # type: ignore[method-assign]

        def updated(self, nbytes: int) -> None:
            self.received += other[:nbytes]
            self.note("updated")

    async with secured(Assigned) as (_, protocol, peer):
        await peer.send(b"hello")
        await protocol.called("updated")
        assert protocol.received == b"hello"


async def test_an_assigned_eof_received_and_connection_lost_are_called() -> None:
    async with secured(Recorder) as (_, protocol, peer):
        protocol.eof_received = lambda: protocol.note("the end")  # type: ignore[method-assign]
        protocol.connection_lost = lambda exc: protocol.note("gone")  # type: ignore[method-assign]
        await peer.send_close_notify()
        await protocol.called("gone")
        assert protocol.calls[-2:] == ["the end", "gone"]


async def test_a_class_that_was_changed_is_asked() -> None:
    class Later(Recorder):
        def data_received(self, data: bytes) -> None:
            self.note("later")

    async with secured(Recorder) as (_, protocol, peer):
        protocol.__class__ = Later
        await peer.send(b"hello")
        await protocol.called("later")
        assert not protocol.received


@pytest.mark.edgeloop_only  # asyncio has read all of it before the first call
async def test_a_protocol_that_hands_over_in_the_middle_of_what_came() -> None:
    """From Protocol to BufferedProtocol, with more than one delivery there already: the rest is the other's."""
    total = 600_000

    taking = BufferRecorder()

    class Handing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(taking)

    async with secured(Handing) as (transport, protocol, peer):
        transport.pause_reading()
        sending = asyncio.ensure_future(peer.send(bytes(total)))
        await asyncio.sleep(0.05)
        transport.resume_reading()
        await taking.until(lambda: len(protocol.received) + len(taking.received) == total)
        await sending
        assert protocol.calls.count("data_received") == 1
        assert transport.get_protocol() is taking


@pytest.mark.parametrize(
    "buffer",
    [
        array.array("I", bytes(4000)),
        memoryview(bytearray(4000)).cast("B", (40, 100)),
        (ctypes.c_uint32 * 1000)(),
        memoryview(array.array("d", bytes(8000)))[:500],
    ],
    ids=["array", "two dimensions", "ctypes", "doubles"],
)
@pytest.mark.edgeloop_only  # asyncio takes len() of it
async def test_a_buffer_of_large_items_is_filled(buffer: Any) -> None:
    class Items(BufferRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            return buffer

        def buffer_updated(self, nbytes: int) -> None:
            assert 0 < nbytes <= 4000
            self.received += memoryview(buffer).tobytes()[:nbytes]
            self.note("buffer_updated")

    data = bytes(range(256)) * 100

    async with secured(Items) as (_, protocol, peer):
        await peer.send(data)
        assert await protocol.bytes_in(len(data)) == data


@pytest.mark.edgeloop_only  # asyncio reads the second record into a copy of a bytearray
async def test_a_buffer_may_be_resized_when_it_was_updated() -> None:
    """Nobody holds it any longer than the read takes."""

    class Growing(BufferRecorder):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            del self.buffer[:nbytes]
            self.buffer += bytes(nbytes)

    data = bytes(range(200))

    async with secured(Growing) as (_, protocol, peer):
        for _ in range(3):
            await peer.send(data)
        assert await protocol.bytes_in(600) == data * 3


@pytest.mark.fair_weather  # the connection ends between two halves of a record
@pytest.mark.edgeloop_only  # asyncio reports no bytes of items as the end
@pytest.mark.parametrize("empty", [bytearray(), memoryview(bytearray(6)).cast("B", (2, 3))[:0]])
async def test_a_buffer_without_room_is_an_error(empty: Any) -> None:
    class Empty(BufferRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            return empty

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with secured(Empty) as (_, protocol, peer):
        await peer.send(b"x")
        assert isinstance(await protocol.lost(), RuntimeError)


@pytest.mark.edgeloop_only  # asyncio counts items
async def test_what_is_written_from_views_of_many_kinds_arrives() -> None:
    """Nothing at all, in several dimensions, is nothing to send."""
    views: list[memoryview[Any]] = [
        memoryview(array.array("I", range(50))),
        memoryview(b"a-b-c-")[::2],
        memoryview(bytes(range(6))).cast("B", (2, 3)),
        memoryview(bytes(16)).cast("d"),
        memoryview(numpy_like_nothing()),
    ]

    async with secured(Recorder) as (transport, _, peer):
        for view in views:
            transport.write(view)
        transport.writelines(views)
        transport.write(b"end")
        expected = 2 * b"".join(view.tobytes() for view in views) + b"end"
        assert await peer.receive(len(expected)) == expected


def numpy_like_nothing() -> Any:
    """Two items of no bytes each."""
    return (ctypes.c_char * 0 * 2)()
