"""What a stream transport calls and when: both kinds of protocol, end of stream, resets, and failing callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, Recording, Run, connected, receive, receive_all, record_errors, reset

KINDS = [Recorder, BufferRecorder]


@pytest.mark.parametrize("kind", KINDS)
async def test_data_arrives(loop: asyncio.AbstractEventLoop, kind: type[Recorder]) -> None:
    async with connected(kind) as (_, protocol, peer):
        peer.send(b"hello")
        assert await protocol.bytes_in(5) == b"hello"


@pytest.mark.parametrize("kind", KINDS)
async def test_connection_made_comes_first(loop: asyncio.AbstractEventLoop, kind: type[Recorder]) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.send(b"already here")
        theirs.shutdown(socket.SHUT_WR)
        _, protocol = await loop.create_connection(kind, sock=ours)
        await protocol.lost()
        data = "data_received" if kind is Recorder else "buffer_updated"
        assert protocol.calls == ["connection_made", data, "eof_received", "connection_lost"]
        assert protocol.received == b"already here"


async def test_a_buffered_protocol_is_asked_for_each_buffer(loop: asyncio.AbstractEventLoop) -> None:
    """get_buffer gets a hint of -1, and may offer less than there is."""
    async with connected(BufferRecorder) as (_, protocol, peer):
        data = bytes(range(256)) * 20
        peer.send(data)
        assert await protocol.bytes_in(len(data)) == data
        assert set(protocol.hints) == {-1}
        assert len(protocol.hints) >= len(data) // protocol.size


async def test_a_buffered_protocol_may_give_a_view(loop: asyncio.AbstractEventLoop) -> None:
    class Views(BufferRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            return memoryview(self.buffer)[100:107]

        def buffer_updated(self, nbytes: int) -> None:
            self.received += self.buffer[100 : 100 + nbytes]
            self.note("buffer_updated")

    async with connected(Views) as (_, protocol, peer):
        peer.send(b"0123456789" * 3)
        assert await protocol.bytes_in(30) == b"0123456789" * 3
        assert protocol.buffer[:100] == bytes(100)
        assert protocol.buffer[107:] == bytes(protocol.size - 107)


async def test_set_protocol_switches_between_the_kinds(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, first, peer):
        peer.send(b"one")
        assert await first.bytes_in(3) == b"one"
        second = BufferRecorder()
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        peer.send(b"two")
        assert await second.bytes_in(3) == b"two"
        third = Recorder()
        transport.set_protocol(third)
        peer.send(b"three")
        assert await third.bytes_in(5) == b"three"
        peer.close()
        await third.lost()
        assert "connection_made" not in second.calls + third.calls
        assert "connection_lost" not in first.calls + second.calls


async def test_set_protocol_from_within_a_callback(loop: asyncio.AbstractEventLoop) -> None:
    """An upgrade, as HTTP servers do it: the rest of the stream goes to the new protocol."""
    second = BufferRecorder()

    class Upgrades(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(second)

    async with connected(Upgrades) as (_, first, peer):
        await loop.sock_sendall(peer, b"upgrade")
        await first.bytes_in(7)
        await loop.sock_sendall(peer, b"new language")
        assert await second.bytes_in(12) == b"new language"
        assert first.received == b"upgrade"


@pytest.mark.parametrize("kind", KINDS)
async def test_eof_closes_by_default(loop: asyncio.AbstractEventLoop, kind: type[Recorder]) -> None:
    async with connected(kind) as (transport, protocol, peer):
        peer.send(b"last")
        peer.shutdown(socket.SHUT_WR)
        assert await protocol.lost() is None
        assert protocol.received == b"last"
        assert protocol.calls[-2:] == ["eof_received", "connection_lost"]
        assert transport.is_closing()
        assert await receive_all(peer) == b""


@pytest.mark.parametrize("kind", KINDS)
async def test_eof_that_keeps_the_connection_open(loop: asyncio.AbstractEventLoop, kind: type[Recorder]) -> None:
    async with connected(kind) as (transport, protocol, peer):
        protocol.keep_open = True
        peer.shutdown(socket.SHUT_WR)
        await protocol.called("eof_received")
        await asyncio.sleep(0.005)
        assert not transport.is_closing()
        transport.write(b"still talking")
        assert await receive(peer, 13) == b"still talking"
        transport.write(bytes(5_000_000))
        assert len(await receive(peer, 5_000_000)) == 5_000_000
        transport.close()
        assert await protocol.lost() is None
        assert protocol.calls.count("eof_received") == 1


async def test_eof_flushes_what_is_written_in_answer(loop: asyncio.AbstractEventLoop) -> None:
    class Answers(Recorder):
        def eof_received(self) -> None:
            self.transport.write(bytes(5_000_000))
            super().eof_received()

    async with connected(Answers) as (_, protocol, peer):
        peer.shutdown(socket.SHUT_WR)
        assert len(await receive_all(peer)) == 5_000_000
        assert await protocol.lost() is None


async def test_end_without_data_or_callback_before_it(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (_, protocol, peer):
        peer.close()
        assert await protocol.lost() is None
        assert protocol.calls == ["connection_made", "eof_received", "connection_lost"]


@pytest.mark.parametrize("kind", KINDS)
async def test_reset_while_reading(loop: asyncio.AbstractEventLoop, kind: type[Recorder]) -> None:
    async with connected(kind) as (transport, protocol, peer):
        reset(peer)
        error = await protocol.lost()
        assert isinstance(error, ConnectionResetError)
        assert error.errno == errno.ECONNRESET
        assert "eof_received" not in protocol.calls
        assert transport.is_closing()


async def test_reset_while_writing(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        transport.write(bytes(20_000_000))
        await asyncio.sleep(0)
        reset(peer)
        assert isinstance(await protocol.lost(), (ConnectionResetError, BrokenPipeError))
        assert transport.get_write_buffer_size() == 0
        assert protocol.calls.count("connection_lost") == 1


async def test_reset_while_reading_is_paused(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio does not look at a paused connection; the reset shows when reading resumes."""
    async with connected(Recorder) as (transport, protocol, peer):
        transport.pause_reading()
        reset(peer)
        await asyncio.sleep(0.005)
        transport.resume_reading()
        assert isinstance(await protocol.lost(), ConnectionResetError)


async def test_reset_while_closing(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        transport.write(bytes(20_000_000))
        transport.close()
        await asyncio.sleep(0.002)
        reset(peer)
        assert isinstance(await protocol.lost(), (ConnectionResetError, BrokenPipeError))
        assert protocol.calls.count("connection_lost") == 1


async def test_reset_after_a_kept_open_eof(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        protocol.keep_open = True
        peer.shutdown(socket.SHUT_WR)
        await protocol.called("eof_received")
        reset(peer)
        while "connection_lost" not in protocol.calls:
            transport.write(b"anyone?")
            await asyncio.sleep(0.001)
        assert isinstance(protocol.error, (ConnectionResetError, BrokenPipeError))


async def test_data_before_a_reset_still_arrives_or_the_error_does(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (_, protocol, peer):
        peer.send(b"data")
        await protocol.bytes_in(4)
        reset(peer)
        assert isinstance(await protocol.lost(), ConnectionResetError)


class Base(BaseException):
    pass


@pytest.mark.parametrize("exception", [ValueError, Base, asyncio.CancelledError])
@pytest.mark.parametrize(
    ("kind", "callback", "message"),
    [
        (Recorder, "data_received", "Fatal error: protocol.data_received() call failed."),
        (Recorder, "eof_received", "Fatal error: protocol.eof_received() call failed."),
        (BufferRecorder, "get_buffer", "Fatal error: protocol.get_buffer() call failed."),
        (BufferRecorder, "buffer_updated", "Fatal error: protocol.buffer_updated() call failed."),
        (BufferRecorder, "eof_received", "Fatal error: protocol.eof_received() call failed."),
    ],
)
async def test_a_failing_callback_ends_the_connection(
    loop: asyncio.AbstractEventLoop,
    kind: type[Recorder],
    callback: str,
    message: str,
    exception: type[BaseException],
) -> None:
    contexts = record_errors(loop)

    def fail(*args: Any) -> None:
        raise exception("in a callback")

    async with connected(kind) as (transport, protocol, peer):
        setattr(protocol, callback, fail)
        transport.set_protocol(protocol)
        peer.send(b"data")
        peer.shutdown(socket.SHUT_WR)
        error = await protocol.lost()
        assert type(error) is exception
        (context,) = contexts
        assert context["message"] == message
        assert context["exception"] is error
        assert context["transport"] is transport
        assert context["protocol"] is protocol
        # What get_buffer left unread makes the kernel end the connection with RST (tcp(7)).
        with contextlib.suppress(ConnectionResetError):
            assert await receive_all(peer) == b""


async def test_an_empty_buffer_is_an_error(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)

    class Empty(BufferRecorder):
        def get_buffer(self, sizehint: int) -> bytearray:
            return bytearray()

    async with connected(Empty) as (_, protocol, peer):
        peer.send(b"data")
        error = await protocol.lost()
        assert isinstance(error, RuntimeError)
        assert str(error) == "get_buffer() returned an empty buffer"
        assert [context["exception"] for context in contexts] == [error]


@pytest.mark.parametrize("wrong", [None, b"read only", "text", 42], ids=repr)
async def test_a_buffer_that_cannot_be_written(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    contexts = record_errors(loop)

    class Wrong(BufferRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            return wrong

    async with connected(Wrong) as (_, protocol, peer):
        peer.send(b"data")
        assert isinstance(await protocol.lost(), (TypeError, BufferError))
        assert len(contexts) == 1


async def test_a_failing_connection_lost_is_reported_and_the_socket_closed(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)

    class Fails(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise LookupError("too late")

    async with connected(Fails) as (transport, protocol, peer):
        transport.close()
        await protocol.lost()
        assert [type(context["exception"]) for context in contexts] == [LookupError]
        assert await receive_all(peer) == b""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exit_out_of_data_received_leaves_the_loop(
    loop: asyncio.AbstractEventLoop, run: Run, kind: type[BaseException]
) -> None:
    class Exits(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            raise kind("out of data_received")

    ours, theirs = socket.socketpair()
    with theirs:
        transport, protocol = run(loop.create_connection(Exits, sock=ours))
        theirs.send(b"data")
        with pytest.raises(kind, match="out of data_received"):
            loop.run_forever()
        assert protocol.received == b"data"
        transport.close()
        run(protocol.lost())


async def test_callbacks_never_overlap(loop: asyncio.AbstractEventLoop) -> None:
    """Whatever a callback does with its transport, the next callback comes after it has returned."""
    inside: list[str] = []
    overlaps: list[str] = []

    class Watched(Recorder):
        def note(self, call: str) -> None:
            super().note(call)
            overlaps.extend(inside)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            inside.append("data_received")
            self.transport.write(bytes(1_000_000))
            self.transport.pause_reading()
            self.transport.resume_reading()
            self.transport.close()
            self.transport.abort()
            inside.pop()

    async with connected(Watched) as (transport, protocol, peer):
        transport.set_write_buffer_limits(high=10_000_000)
        peer.send(b"data")
        await protocol.lost()
        assert overlaps == []


async def test_protocol_may_be_any_object_with_the_methods(loop: asyncio.AbstractEventLoop) -> None:
    class Duck:
        def __init__(self) -> None:
            self.calls: list[str] = []
            self.done = asyncio.get_running_loop().create_future()

        def connection_made(self, transport: asyncio.Transport) -> None:
            self.calls.append("made")

        def data_received(self, data: bytes) -> None:
            self.calls.append(data.decode())

        def eof_received(self) -> None:
            self.calls.append("eof")

        def connection_lost(self, exc: Exception | None) -> None:
            self.calls.append("lost")
            self.done.set_result(None)

    ours, theirs = socket.socketpair()
    with theirs:
        factory: Any = Duck
        _, protocol = await loop.create_connection(factory, sock=ours)
        theirs.send(b"quack")
        theirs.shutdown(socket.SHUT_WR)
        await protocol.done
        assert protocol.calls == ["made", "quack", "eof", "lost"]


def test_recording_protocols_are_asyncio_protocols() -> None:
    assert issubclass(Recorder, asyncio.Protocol)
    assert issubclass(BufferRecorder, asyncio.BufferedProtocol)
    assert issubclass(Recording, asyncio.BaseProtocol)
