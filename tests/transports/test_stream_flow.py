"""Flow control both ways: the write buffer's limits, and pausing and resuming reading."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, connected, receive, receive_all, record_errors, reset

KINDS = [Recorder, BufferRecorder]


async def test_default_limits(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, _, _):
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        assert transport.get_write_buffer_size() == 0


@pytest.mark.parametrize(
    ("arguments", "limits"),
    [
        ({}, (16384, 65536)),
        ({"high": 1000}, (250, 1000)),
        ({"low": 1000}, (1000, 4000)),
        ({"high": 1000, "low": 999}, (999, 1000)),
        ({"high": 1000, "low": 1000}, (1000, 1000)),
        ({"high": 0}, (0, 0)),
        ({"low": 0}, (0, 0)),
        ({"high": 1}, (0, 1)),
    ],
    ids=str,
)
async def test_limits(loop: asyncio.AbstractEventLoop, arguments: dict[str, int], limits: tuple[int, int]) -> None:
    async with connected(Recorder) as (transport, _, _):
        transport.set_write_buffer_limits(**arguments)
        assert transport.get_write_buffer_limits() == limits


@pytest.mark.parametrize(
    ("high", "low", "text"),
    [
        (1000, 2000, r"^high \(1000\) must be >= low \(2000\) must be >= 0$"),
        (1000, -1, r"^high \(1000\) must be >= low \(-1\) must be >= 0$"),
        (-1, None, r"^high \(-1\) must be >= low \(-1\) must be >= 0$"),
    ],
)
async def test_wrong_limits(loop: asyncio.AbstractEventLoop, high: int, low: int | None, text: str) -> None:
    async with connected(Recorder) as (transport, _, _):
        with pytest.raises(ValueError, match=text):
            transport.set_write_buffer_limits(high, low)
        assert transport.get_write_buffer_limits() == (16384, 65536)


async def test_pause_above_high_and_resume_at_low(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        transport.set_write_buffer_limits(high=100_000, low=10_000)
        transport.write(bytes(2_000_000))
        await protocol.called("pause_writing")
        assert transport.get_write_buffer_size() > 100_000
        received = 0
        while "resume_writing" not in protocol.calls:
            received += len(await loop.sock_recv(peer, 65536))
        assert transport.get_write_buffer_size() <= 10_000
        received += len(await receive(peer, 2_000_000 - received))
        assert received == 2_000_000
        assert protocol.calls.count("pause_writing") == 1
        assert protocol.calls.count("resume_writing") == 1


async def test_pause_and_resume_take_turns(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        for _ in range(10):
            transport.write(bytes(500_000))
            transport.write(bytes(500_000))
            assert len(await receive(peer, 1_000_000)) == 1_000_000
            await protocol.until(lambda: protocol.calls[-1] == "resume_writing")
        flow = [call for call in protocol.calls if call.endswith("_writing")]
        assert flow == ["pause_writing", "resume_writing"] * (len(flow) // 2)


async def test_a_buffer_at_high_exactly_does_not_pause(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, _):
        transport.set_write_buffer_limits(high=50_000_000)
        transport.write(bytes(1_000_000))
        await asyncio.sleep(0.005)
        assert "pause_writing" not in protocol.calls
        size = transport.get_write_buffer_size()
        assert 0 < size <= 1_000_000
        transport.set_write_buffer_limits(high=size)
        assert "pause_writing" not in protocol.calls
        transport.set_write_buffer_limits(high=size - 1)
        assert "pause_writing" in protocol.calls


async def test_writelines_pauses_too(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        transport.write(bytes(1_000_000))
        transport.writelines([bytes(1_000_000), bytes(1_000_000)])
        await protocol.called("pause_writing")
        assert len(await receive(peer, 3_000_000)) == 3_000_000
        await protocol.called("resume_writing")


async def test_writing_from_resume_writing(loop: asyncio.AbstractEventLoop) -> None:
    class Producer(Recorder):
        left = 20

        def resume_writing(self) -> None:
            super().resume_writing()
            if self.left:
                self.left -= 1
                self.transport.write(bytes(200_000))
            else:
                self.transport.close()

    async with connected(Producer, send_buffer=8192) as (transport, protocol, peer):
        transport.write(bytes(200_000))
        assert len(await receive_all(peer)) == 21 * 200_000
        assert await protocol.lost() is None


@pytest.mark.parametrize("callback", ["pause_writing", "resume_writing"])
async def test_a_failing_flow_callback_is_reported(loop: asyncio.AbstractEventLoop, callback: str) -> None:
    contexts = record_errors(loop)

    def fail() -> None:
        raise LookupError("flow")

    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        setattr(protocol, callback, fail)
        transport.write(bytes(1_000_000))
        assert len(await receive(peer, 1_000_000)) == 1_000_000
        await asyncio.sleep(0.002)
        (context,) = contexts
        assert context["message"] == f"protocol.{callback}() failed"
        assert context["transport"] is transport
        assert context["protocol"] is protocol
        assert not transport.is_closing()


async def test_drain_of_streams(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        _, writer = await asyncio.open_connection(sock=ours)
        writer.write(bytes(5_000_000))
        draining = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0.005)
        assert not draining.done()
        await receive(theirs, 5_000_000)
        await draining
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("kind", KINDS)
async def test_pause_reading(loop: asyncio.AbstractEventLoop, kind: type[Recorder]) -> None:
    async with connected(kind) as (transport, protocol, peer):
        assert transport.is_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        peer.send(b"while paused")
        await asyncio.sleep(0.005)
        assert protocol.received == b""
        transport.resume_reading()
        assert transport.is_reading()
        assert await protocol.bytes_in(12) == b"while paused"


async def test_pause_and_resume_any_number_of_times(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        transport.resume_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        peer.send(b"data")
        assert await protocol.bytes_in(4) == b"data"


async def test_pause_and_resume_with_data_waiting_each_time(loop: asyncio.AbstractEventLoop) -> None:
    """No edge comes for data that has been waiting all along."""
    async with connected(Recorder) as (transport, protocol, peer):
        for number in range(1, 51):
            transport.pause_reading()
            peer.send(b"x")
            if number % 2:
                await asyncio.sleep(0.001)
            transport.resume_reading()
            if number % 3 == 0:
                transport.pause_reading()
                transport.resume_reading()
            await protocol.bytes_in(number)


@pytest.mark.parametrize("kind", KINDS)
async def test_pause_from_within_the_data_callback(loop: asyncio.AbstractEventLoop, kind: type[Recorder]) -> None:
    class OneAtATime(kind):  # type: ignore[misc, valid-type]  # one of the two kinds
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

    async with connected(OneAtATime) as (transport, protocol, peer):
        sending = asyncio.ensure_future(loop.sock_sendall(peer, bytes(1_000_000)))
        seen = 0
        while len(protocol.received) < 1_000_000:
            await protocol.until(lambda before=seen: len(protocol.received) > before)
            seen = len(protocol.received)
            await asyncio.sleep(0)
            assert len(protocol.received) == seen
            transport.resume_reading()
        await sending


async def test_pause_in_connection_made(loop: asyncio.AbstractEventLoop) -> None:
    class StartsPaused(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.pause_reading()

    async with connected(StartsPaused) as (transport, protocol, peer):
        peer.send(b"data")
        await asyncio.sleep(0.005)
        assert protocol.received == b""
        transport.resume_reading()
        assert await protocol.bytes_in(4) == b"data"


async def test_the_end_waits_for_resume(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        transport.pause_reading()
        peer.send(b"last")
        peer.close()
        await asyncio.sleep(0.005)
        assert protocol.calls == ["connection_made"]
        transport.resume_reading()
        await protocol.lost()
        assert protocol.received == b"last"


async def test_backpressure_reaches_the_peer(loop: asyncio.AbstractEventLoop) -> None:
    """Nobody reads: the peer's send must stop before 50 MB, and all of it arrive once somebody does."""
    async with connected(Recorder) as (transport, protocol, peer):
        transport.pause_reading()
        sending = asyncio.ensure_future(loop.sock_sendall(peer, bytes(50_000_000)))
        await asyncio.sleep(0.05)
        assert not sending.done()
        transport.resume_reading()
        await sending
        assert len(await protocol.bytes_in(50_000_000)) == 50_000_000


async def test_writing_goes_on_while_reading_is_paused(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        transport.pause_reading()
        peer.send(b"unread")
        transport.write(bytes(1_000_000))
        assert len(await receive(peer, 1_000_000)) == 1_000_000
        transport.resume_reading()
        assert await protocol.bytes_in(6) == b"unread"


@pytest.mark.parametrize("method", ["pause_reading", "resume_reading"])
async def test_pause_and_resume_of_a_closing_transport(loop: asyncio.AbstractEventLoop, method: str) -> None:
    async with connected(Recorder) as (transport, protocol, _):
        call: Any = getattr(transport, method)
        transport.close()
        call()
        assert not transport.is_reading()
        await protocol.lost()
        call()
        assert not transport.is_reading()


async def test_resume_in_the_turn_of_close(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        transport.pause_reading()
        peer.send(b"never read")
        await asyncio.sleep(0.002)
        transport.resume_reading()
        transport.close()
        await protocol.lost()
        assert protocol.received == b""


async def test_a_write_that_fails_resumes_nobody(loop: asyncio.AbstractEventLoop) -> None:
    """Who waits for room, as drain does, would take it for a success; connection_lost says what it was."""
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        transport.pause_reading()  # or a read would find the reset first
        transport.write(bytes(1_000_000))
        assert protocol.calls == ["connection_made", "pause_writing"]
        reset(peer)
        assert isinstance(await protocol.lost(), OSError)
        assert protocol.calls == ["connection_made", "pause_writing", "connection_lost"]


async def test_an_abort_resumes_nobody(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        transport.write(bytes(1_000_000))
        await receive(peer, 10_000)
        transport.abort()
        await protocol.lost()
        assert protocol.calls == ["connection_made", "pause_writing", "connection_lost"]


async def test_the_end_of_a_transport_that_closes_resumes_first(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        transport.write(bytes(1_000_000))
        transport.close()
        assert len(await receive_all(peer)) == 1_000_000
        await protocol.lost()
        assert protocol.calls == ["connection_made", "pause_writing", "resume_writing", "connection_lost"]


async def test_what_resume_writing_writes_leaves_before_the_end(loop: asyncio.AbstractEventLoop) -> None:
    """Nothing else waits by then."""

    class Last(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            if self.calls.count("resume_writing") == 1:
                self.transport.write(b"last")

    async with connected(Last, send_buffer=8192) as (transport, protocol, peer):
        transport.set_write_buffer_limits(0)
        transport.write(bytes(100_000))
        transport.close()
        assert (await receive_all(peer))[100_000:] == b"last"
        assert await protocol.lost() is None
