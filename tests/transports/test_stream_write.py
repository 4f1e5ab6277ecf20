"""Writing to a stream: types, order, integrity, half-close, and writing when it is too late."""

from __future__ import annotations

import array
import asyncio
import hashlib
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, Run, connected, receive, receive_all, record_errors


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_types(loop: asyncio.AbstractEventLoop, kind: Callable[[bytes], Any]) -> None:
    async with connected(Recorder) as (transport, _, peer):
        assert transport.write(kind(b"data")) is None  # type: ignore[func-returns-value]
        transport.write(kind(b""))
        transport.writelines([kind(b"more"), kind(b""), kind(b"and more")])
        assert await receive(peer, 16) == b"datamoreand more"


async def test_the_buffers_size_is_what_the_kernel_has_not_taken(loop: asyncio.AbstractEventLoop) -> None:
    """Asked within the turn of the write, too: who measures an upload's progress goes by it."""
    async with connected(Recorder) as (transport, _, peer):
        transport.write(b"head")
        transport.write(b"body")
        assert transport.get_write_buffer_size() == 0
        assert await receive(peer, 8) == b"headbody"
        transport.write(b"seen from another thread")
        assert await asyncio.to_thread(transport.get_write_buffer_size) in (0, 24)
        assert await receive(peer, 24) == b"seen from another thread"


@pytest.mark.parametrize("wrong", ["text", 42, None, [b"list"], array.array("B", b"array")], ids=repr)
async def test_wrong_types(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    async with connected(Recorder) as (transport, _, peer):
        name = type(wrong).__name__
        with pytest.raises(TypeError, match=rf"^data argument must be a bytes-like object, not '{name}'$"):
            transport.write(wrong)
        transport.write(b"fine")
        assert await receive(peer, 4) == b"fine"


@pytest.mark.parametrize("wrong", [["text"], [b"fine", None], 42], ids=repr)
async def test_wrong_lines(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    async with connected(Recorder) as (transport, _, peer):
        with pytest.raises(TypeError):
            transport.writelines(wrong)
        transport.write(b"fine")
        assert (await receive(peer, 4))[-4:] == b"fine"


async def test_a_view_of_wider_items(loop: asyncio.AbstractEventLoop) -> None:
    """Counted in bytes, not in items."""
    async with connected(Recorder) as (transport, _, peer):
        numbers = array.array("Q", range(1000))
        transport.write(memoryview(numbers).cast("B"))
        assert await receive(peer, 8000) == numbers.tobytes()


@pytest.mark.edgeloop_only
async def test_a_large_view_of_wider_items(loop: asyncio.AbstractEventLoop) -> None:
    """The standard loop slices what did not fit by items, and loses data."""
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        numbers = array.array("Q", range(100_000))
        transport.write(memoryview(numbers))
        transport.writelines([memoryview(numbers), memoryview(numbers)])
        transport.close()
        assert await receive_all(peer) == numbers.tobytes() * 3
        await protocol.lost()


@pytest.mark.edgeloop_only
async def test_a_view_with_gaps(loop: asyncio.AbstractEventLoop) -> None:
    """The standard loop gives up the connection: send(2) needs contiguous memory."""
    async with connected(Recorder) as (transport, _, peer):
        transport.write(memoryview(b"0123456789")[::2])
        transport.writelines([memoryview(b"abcdef")[::-1], b"!"])
        assert await receive(peer, 12) == b"02468fedcba!"


@pytest.mark.parametrize("lines", [0, 1, 2, 1023, 1024, 1025, 5000])
async def test_writelines_of_any_length(loop: asyncio.AbstractEventLoop, lines: int) -> None:
    """writev(2) takes IOV_MAX = 1024 pieces at a time."""
    async with connected(Recorder) as (transport, protocol, peer):
        pieces = [b"%d," % number for number in range(lines)]
        transport.writelines(pieces)
        transport.close()
        assert await receive_all(peer) == b"".join(pieces)
        await protocol.lost()


async def test_writelines_of_an_iterator(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, _, peer):
        transport.writelines(b"%d" % number for number in range(10))
        assert await receive(peer, 10) == b"0123456789"


async def test_order_of_many_small_and_large_writes(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        digest = hashlib.sha256()
        total = 0
        for number in range(300):
            piece = bytes([number % 256]) * (1 + number * number % 20_000)
            digest.update(piece)
            total += len(piece)
            if number % 3:
                transport.write(piece)
            else:
                transport.writelines([piece[:5], piece[5:]])
            if number % 7 == 0:
                await asyncio.sleep(0)
        transport.close()
        data = await receive_all(peer)
        assert len(data) == total
        assert hashlib.sha256(data).hexdigest() == digest.hexdigest()
        await protocol.lost()


async def test_what_the_caller_changes_after_write_is_not_sent(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, _, peer):
        buffer = bytearray(b"original")
        transport.write(buffer)
        buffer[:] = b"mutated!"
        assert await receive(peer, 8) == b"original"


@pytest.mark.edgeloop_only
@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_what_the_caller_changes_while_it_waits_is_not_sent(
    loop: asyncio.AbstractEventLoop, kind: Callable[[bytearray], Any]
) -> None:
    """The standard loop keeps a view of what did not fit, and sends what the caller put there since."""
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        buffer = bytearray(b"x" * 1_000_000)
        transport.write(kind(buffer))
        transport.writelines([kind(buffer), kind(buffer)])
        buffer[:] = b"y" * len(buffer)
        transport.close()
        data = await receive_all(peer)
        assert len(data) == 3_000_000
        assert data.count(b"x") == 3_000_000
        await protocol.lost()


@pytest.mark.edgeloop_only
async def test_the_callers_bytearray_can_be_resized(loop: asyncio.AbstractEventLoop) -> None:
    """The standard loop holds an export of what did not fit; resizing then raises BufferError."""
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        buffer = bytearray(b"x" * 1_000_000)
        transport.write(buffer)
        buffer.clear()
        transport.close()
        assert await receive_all(peer) == b"x" * 1_000_000
        await protocol.lost()


@pytest.mark.parametrize("kind", [Recorder, BufferRecorder])
async def test_echo_of_3_mb(loop: asyncio.AbstractEventLoop, kind: type[Recorder]) -> None:
    data = os.urandom(3_000_000)

    class Echo(kind):  # type: ignore[misc, valid-type]  # one of the two kinds
        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

        def buffer_updated(self, nbytes: int) -> None:
            self.transport.write(self.buffer[:nbytes])

    async with connected(Echo) as (_, _, peer):
        _, echoed = await asyncio.gather(loop.sock_sendall(peer, data), receive(peer, len(data)))
        assert hashlib.sha256(echoed).hexdigest() == hashlib.sha256(data).hexdigest()


async def test_two_hundred_connections_at_once(loop: asyncio.AbstractEventLoop) -> None:
    class Echo(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    async def talk(address: tuple[str, int], number: int) -> bool:
        reader, writer = await asyncio.open_connection(*address)
        message = b"%d." % number * 3000
        writer.write(message)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer == message

    async with await loop.create_server(Echo, "127.0.0.1", 0, backlog=300) as server:
        address = server.sockets[0].getsockname()
        assert all(await asyncio.gather(*(talk(address, number) for number in range(200))))


async def test_write_eof(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        assert transport.can_write_eof() is True
        transport.write(b"question")
        transport.write_eof()
        transport.write_eof()
        assert await receive_all(peer) == b"question"
        await loop.sock_sendall(peer, b"answer")
        assert await protocol.bytes_in(6) == b"answer"
        assert not transport.is_closing()
        peer.close()
        assert await protocol.lost() is None


async def test_write_eof_comes_after_what_was_written(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        transport.write(bytes(2_000_000))
        transport.write_eof()
        assert len(await receive_all(peer)) == 2_000_000
        peer.close()
        await protocol.lost()


async def test_write_after_write_eof(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, _, peer):
        transport.write_eof()
        with pytest.raises(RuntimeError, match=r"^Cannot call write\(\) after write_eof\(\)$"):
            transport.write(b"too late")
        with pytest.raises(RuntimeError, match=r"^Cannot call write(lines)?\(\) after write_eof\(\)$"):
            transport.writelines([b"too late"])
        assert await receive_all(peer) == b""


async def test_write_eof_of_a_closing_transport(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, _):
        transport.close()
        transport.write_eof()
        await protocol.lost()
        transport.write_eof()


async def test_write_after_close_is_dropped(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        transport.write(b"in time")
        transport.close()
        transport.write(b"too late")
        await protocol.lost()
        transport.write(b"far too late")
        assert await receive_all(peer) == b"in time"
        assert protocol.calls.count("connection_lost") == 1


@pytest.mark.edgeloop_only
async def test_writelines_after_close_is_dropped(loop: asyncio.AbstractEventLoop) -> None:
    """The standard loop of some Pythons fails an assertion or keeps the data here."""
    async with connected(Recorder) as (transport, protocol, peer):
        transport.close()
        transport.writelines([b"too", b"late"])
        await protocol.lost()
        transport.writelines([b"far", b"too", b"late"])
        assert await receive_all(peer) == b""
        assert transport.get_write_buffer_size() == 0


async def test_writing_on_and_on_after_the_end_warns(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(Recorder) as (transport, protocol, _):
        transport.abort()
        for _ in range(4):
            transport.write(b"too late")
        await protocol.lost()
        assert caplog.records == []
        for _ in range(3):
            transport.write(b"still too late")
        messages = [record.getMessage() for record in caplog.records]
        assert messages == ["socket.send() raised exception."] * 3
        assert caplog.records[0].levelno == logging.WARNING


def test_writing_to_a_peer_that_has_gone_reports_once(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    contexts = record_errors(loop)

    async def main() -> None:
        async with connected(Recorder) as (transport, protocol, peer):
            transport.pause_reading()
            peer.close()
            while not transport.is_closing():
                transport.write(b"anyone?")
                await asyncio.sleep(0)
            assert isinstance(await protocol.lost(), (BrokenPipeError, ConnectionResetError))
            assert protocol.calls.count("connection_lost") == 1

    run(main())
    assert contexts == []


async def test_a_failing_write_never_calls_back_from_within(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        peer.close()
        transport.pause_reading()
        for _ in range(100):
            before = list(protocol.calls)
            transport.write(b"x" * 1000)
            transport.writelines([b"y", b"z"])
            assert protocol.calls == before
            if transport.is_closing():
                break
            await asyncio.sleep(0)
        await protocol.lost()


async def test_unix_stream_pairs_too(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        transport.write(bytes(2_000_000))
        transport.close()
        assert len(await receive_all(theirs)) == 2_000_000
        await protocol.lost()
