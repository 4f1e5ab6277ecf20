"""Flow control over TLS in both directions, and writes from within callbacks."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, record_errors
from tls_peer import records, secured

sides = pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


class Writable(Recorder):
    """Knows whether it may write."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write = True

    def pause_writing(self) -> None:
        assert self.may_write
        self.may_write = False
        super().pause_writing()

    def resume_writing(self) -> None:
        assert not self.may_write
        self.may_write = True
        super().resume_writing()


@sides
@versions
async def test_nothing_is_delivered_while_reading_is_paused(server_side: bool, version: str) -> None:
    data = os.urandom(300_000)

    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    async with secured(Pausing, server_side=server_side, version=version) as (transport, protocol, peer):
        sending = asyncio.ensure_future(peer.send(data))
        while len(protocol.received) < len(data):
            await protocol.until(lambda: not transport.is_reading())
            before = len(protocol.received)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(protocol.received) == before
            transport.resume_reading()
            await protocol.bytes_in(before + 1)
        await sending
        assert protocol.received == data


async def test_pausing_after_each_small_buffer() -> None:
    """What one read of the socket brought is more than the protocol wants: the rest waits, and none of it is lost."""
    data = os.urandom(300_000)

    class Pausing(BufferRecorder):
        def __init__(self) -> None:
            super().__init__()
            self.buffer = memoryview(bytearray(1000))  # type: ignore[assignment]

        def buffer_updated(self, nbytes: int) -> None:
            assert self.transport.is_reading()
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

    async with secured(Pausing) as (transport, protocol, peer):
        transport.pause_reading()
        sending = asyncio.ensure_future(peer.send(data))
        await asyncio.sleep(0.02)
        while len(protocol.received) < len(data):
            before = len(protocol.received)
            transport.resume_reading()
            await protocol.bytes_in(before + 1)
            await asyncio.sleep(0)
        await sending
        assert protocol.received == data


async def test_pausing_and_resuming_twice_is_harmless() -> None:
    async with secured(Recorder) as (transport, protocol, peer):
        transport.resume_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        await peer.send(b"x")
        transport.resume_reading()
        transport.resume_reading()
        transport.pause_reading()
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.received == b""
        transport.resume_reading()
        assert transport.is_reading()
        assert await protocol.bytes_in(1) == b"x"


@pytest.mark.parametrize("close_notify", [True, False])
async def test_the_end_comes_after_the_data_however_long_the_pause(close_notify: bool) -> None:
    async with secured(Recorder) as (transport, protocol, peer):
        transport.pause_reading()
        await peer.send(b"the rest")
        if close_notify:
            await peer.send_close_notify()
        peer.end()
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.calls == ["connection_made"]
        transport.resume_reading()
        assert await protocol.lost() is None
        assert protocol.received == b"the rest"
        assert protocol.calls[1:] == ["data_received", "eof_received", "connection_lost"]


async def test_closing_while_reading_is_paused() -> None:
    async with secured(Recorder) as (transport, protocol, peer):
        transport.pause_reading()
        await peer.send(b"too late")
        transport.close()
        assert await peer.receive_all() == b""
        await peer.send_close_notify()
        await protocol.lost()


@pytest.mark.edgeloop_only
async def test_closing_while_reading_is_paused_delivers_nothing() -> None:
    async with secured(Recorder) as (transport, protocol, peer):
        transport.pause_reading()
        await peer.send(b"too late")
        await asyncio.sleep(0)
        transport.close()
        assert await peer.receive_all() == b""
        await peer.send_close_notify()
        assert await protocol.lost() is None
        assert protocol.calls == ["connection_made", "connection_lost"]


@sides
@versions
async def test_a_writer_is_held_back_and_let_go(server_side: bool, version: str) -> None:
    data = os.urandom(1 << 20)

    async with secured(Writable, server_side=server_side, version=version, send_buffer=8192) as (
        transport,
        protocol,
        peer,
    ):
        assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
        written = 0
        while protocol.may_write:
            transport.write(data)
            written += len(data)
        assert transport.get_write_buffer_size() > 512 * 1024
        assert await peer.receive(written) == data * (written // len(data))
        await protocol.until(lambda: protocol.may_write)
        assert transport.get_write_buffer_size() <= 128 * 1024
        assert protocol.calls == ["connection_made", "pause_writing", "resume_writing"]


async def test_write_buffer_limits() -> None:
    async with secured(Recorder) as (transport, _, _peer):
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits() == (100, 400)
        transport.set_write_buffer_limits(10, 5)
        assert transport.get_write_buffer_limits() == (5, 10)
        for high, low in ((5, 10), (-1, None), (10, -1)):
            with pytest.raises(ValueError, match=r"high \(.*\) must be >= low \(.*\) must be >= 0"):
                transport.set_write_buffer_limits(high, low)


@pytest.mark.edgeloop_only
async def test_a_limit_of_zero_pauses_only_a_buffer_that_is_not_empty() -> None:
    async with secured(Writable, send_buffer=8192) as (transport, protocol, peer):
        transport.set_write_buffer_limits(0)
        assert protocol.may_write
        transport.write(b"x")
        assert protocol.may_write
        transport.write(bytes(2_000_000))
        assert not protocol.may_write
        await peer.receive(2_000_001)
        await protocol.until(lambda: protocol.may_write)


@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
async def test_a_flow_control_callback_that_raises(name: str) -> None:
    def fail(self: Any) -> None:
        Recorder.note(self, name)
        raise ZeroDivisionError

    raising = type("Raising", (Recorder,), {name: fail})
    errors = record_errors(asyncio.get_running_loop())
    async with secured(raising, send_buffer=8192) as (transport, protocol, peer):
        for _ in range(4):
            transport.write(bytes(1 << 20))
        await protocol.called("pause_writing")
        assert len(await peer.receive(4 << 20)) == 4 << 20
        await protocol.called("resume_writing")
    assert [error["message"] for error in errors] == [f"protocol.{name}() failed"]


async def test_closing_from_pause_writing() -> None:
    class Closing(Recorder):
        def pause_writing(self) -> None:
            super().pause_writing()
            self.transport.write(b"the end")
            self.transport.close()

    async with secured(Closing, send_buffer=8192) as (transport, protocol, peer):
        written = 0
        while not transport.is_closing():
            transport.write(bytes(1 << 20))
            written += 1 << 20
        transport.write(b"dropped, after close")
        received = await peer.receive_all()
        assert received == bytes(written) + b"the end"
        await peer.send_close_notify()
        assert await protocol.lost() is None


@sides
async def test_writes_from_every_callback_keep_their_order(server_side: bool) -> None:
    class Talking(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.write(b"[made")
            self.transport.write(b"]")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"[")
            self.transport.writelines([b"got ", bytearray(data)])
            self.transport.write(memoryview(b"]"))

    async with secured(Talking, server_side=server_side) as (transport, _, peer):
        assert await peer.receive(6) == b"[made]"
        await peer.send(b"one")
        assert await peer.receive(9) == b"[got one]"
        transport.write(b"outside")
        assert await peer.receive(7) == b"outside"


async def test_a_large_answer_within_data_received() -> None:
    class Answering(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            for _ in range(50):
                self.transport.write(data * 40_000)

    async with secured(Answering, send_buffer=8192) as (_, _protocol, peer):
        await peer.send(b"x")
        assert await peer.receive(2_000_000) == b"x" * 2_000_000


@pytest.mark.edgeloop_only
async def test_writelines_makes_full_records() -> None:
    async with secured(Recorder, version="TLSv1.3") as (transport, _, peer):
        transport.writelines([bytes(1000)] * 20)
        sizes = await records(peer)
        assert sizes == [16_017, 4_017]
        assert await peer.receive(20_000) == bytes(20_000)


@pytest.mark.edgeloop_only
@pytest.mark.parametrize("kind", [bytearray, lambda size: memoryview(bytearray(size))], ids=["bytearray", "memoryview"])
async def test_a_buffer_may_be_used_again_after_write(kind: Any) -> None:
    async with secured(Recorder, send_buffer=8192) as (transport, _, peer):
        buffer = kind(1000)
        expected = b""
        for number in range(2000):
            buffer[:4] = number.to_bytes(4, "big")
            expected += bytes(buffer)
            transport.write(buffer)
        assert await peer.receive(len(expected)) == expected


async def test_writing_what_is_not_bytes() -> None:
    async with secured(Recorder) as (transport, _, peer):
        with pytest.raises(TypeError, match="data: expecting a bytes-like instance, got str"):
            transport.write("text")  # type: ignore[arg-type]
        transport.write(b"")
        transport.write(b"still here")
        assert await peer.receive(10) == b"still here"


@pytest.mark.edgeloop_only
async def test_writelines_of_what_is_not_bytes_writes_nothing() -> None:
    async with secured(Recorder) as (transport, _, peer):
        with pytest.raises(TypeError, match="data: expecting a bytes-like instance, got str"):
            transport.writelines([b"lost", "text"])  # type: ignore[list-item]
        transport.write(b"still here")
        assert await peer.receive(10) == b"still here"


@pytest.mark.edgeloop_only
async def test_memoryviews_of_other_items() -> None:
    import array

    async with secured(Recorder) as (transport, _, peer):
        numbers = array.array("I", range(5000))
        transport.write(memoryview(numbers))
        transport.write(memoryview(b"a-b-c-")[::2])
        assert await peer.receive(numbers.itemsize * 5000 + 3) == numbers.tobytes() + b"abc"


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
@pytest.mark.parametrize("kind", [lambda size: memoryview(bytearray(size)), bytearray], ids=["memoryview", "bytearray"])
async def test_buffers_of_any_size(loop_factory: Any, size: int, kind: Any) -> None:
    if kind is bytearray and loop_factory is asyncio.SelectorEventLoop:
        pytest.skip("asyncio reads the second record into a copy of the bytearray")
    data = os.urandom(20_000)

    class Sized(BufferRecorder):
        def __init__(self) -> None:
            super().__init__()
            self.buffer = kind(size)

        def buffer_updated(self, nbytes: int) -> None:
            assert 0 < nbytes <= size
            super().buffer_updated(nbytes)

    async with secured(Sized) as (_, protocol, peer):
        await peer.send(data)
        assert await protocol.bytes_in(len(data)) == data
        peer.end()
        assert await protocol.lost() is None


@pytest.mark.edgeloop_only
async def test_a_buffer_of_no_size() -> None:
    class Empty(BufferRecorder):
        size = 0

    errors = record_errors(asyncio.get_running_loop())
    async with secured(Empty) as (_, protocol, peer):
        await peer.send(b"x")
        error = await protocol.lost()
        assert isinstance(error, RuntimeError)
        assert str(error) == "get_buffer() returned an empty buffer"
    assert len(errors) == 1
