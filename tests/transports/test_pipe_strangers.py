"""A pipe whose file object is closed behind its transport's back: the number may be a stranger's by then."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import socket
from typing import Any

import pytest
from pipe_recording import PipeRecorder, read_all
from recording import Run, record_errors, turns

Loop = asyncio.AbstractEventLoop


def expect_closed(error: BaseException | None) -> None:
    assert isinstance(error, OSError)
    assert error.errno == errno.EBADF


@pytest.mark.edgeloop_only  # asyncio writes to whoever has the number
async def test_a_write_does_not_reach_a_stranger(loop: Loop) -> None:
    stranger, peer = socket.socketpair()
    read, write = os.pipe()
    file = open(write, "wb", 0)
    transport, protocol = await loop.connect_write_pipe(PipeRecorder, file)
    file.close()
    os.dup2(stranger.fileno(), write)
    transport.write(b"secret")
    expect_closed(await protocol.lost())
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(100)
    os.fstat(write)  # and the stranger is still open
    for end in (write, read):
        os.close(end)
    stranger.close()
    peer.close()


@pytest.mark.edgeloop_only
async def test_what_waits_does_not_reach_a_stranger(loop: Loop) -> None:
    """The number of a full pipe is another's when there is room again; and close() comes to an end all the same."""
    stranger, peer = socket.socketpair()
    read, write = os.pipe()
    os.set_blocking(read, False)
    file = open(write, "wb", 0)
    transport, protocol = await loop.connect_write_pipe(PipeRecorder, file)
    transport.write(b"x" * 1_000_000)
    kept = os.dup(write)  # the epoll entry lives on: rule 1
    file.close()
    os.dup2(stranger.fileno(), write)
    read_all(read)
    await turns()
    transport.close()
    expect_closed(await protocol.lost())
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(100)
    os.fstat(write)
    for end in (write, read, kept):
        os.close(end)
    stranger.close()
    peer.close()


@pytest.mark.edgeloop_only
async def test_close_ends_a_pipe_that_was_closed_while_it_was_full(loop: Loop) -> None:
    """asyncio waits for ever: no event will tell of room."""
    read, write = os.pipe()
    file = open(write, "wb", 0)
    transport, protocol = await loop.connect_write_pipe(PipeRecorder, file)
    transport.write(b"x" * 1_000_000)
    file.close()
    await turns()
    transport.close()
    expect_closed(await protocol.lost())
    assert protocol.calls.count("connection_lost") == 1
    os.close(read)


@pytest.mark.edgeloop_only  # asyncio reads from whoever has the number
def test_a_read_does_not_take_from_a_stranger(run: Run, loop: Loop) -> None:
    errors = record_errors(loop)

    async def main() -> None:
        stranger, peer = socket.socketpair()
        read, write = os.pipe()
        file = open(read, "rb", 0)
        _, protocol = await loop.connect_read_pipe(PipeRecorder, file)
        kept = os.dup(read)  # the epoll entry lives on, and tells of the pipe
        file.close()
        os.dup2(stranger.fileno(), read)
        peer.send(b"not for us")
        os.write(write, b"wakes")
        expect_closed(await protocol.lost())
        assert protocol.received == b""
        assert os.read(read, 100) == b"not for us"
        for end in (write, read, kept):
            os.close(end)
        stranger.close()
        peer.close()

    run(main())
    assert [context["message"] for context in errors] == ["Fatal read error on pipe transport"]


@pytest.mark.parametrize("reading", [True, False])
async def test_close_after_the_file_was_closed(loop: Loop, reading: bool) -> None:
    read, write = os.pipe()
    kept = os.dup(write if reading else read)
    connect: Any = loop.connect_read_pipe if reading else loop.connect_write_pipe
    file = open(read, "rb", 0) if reading else open(write, "wb", 0)
    transport, protocol = await connect(PipeRecorder, file)
    file.close()
    await turns()
    assert "connection_lost" not in protocol.calls
    transport.close()
    assert await protocol.lost() is None
    assert protocol.calls.count("connection_lost") == 1
    os.close(write if reading else read)
    os.close(kept)


@pytest.mark.edgeloop_only  # asyncio registers whoever has the number, or nobody: it never reads, and never ends
@pytest.mark.parametrize("reading", [True, False])
def test_a_stranger_is_not_registered(run: Run, loop: Loop, reading: bool) -> None:
    """connection_made, or whoever runs before it, closes the file."""
    record_errors(loop)

    class Closing(PipeRecorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            transport.get_extra_info("pipe").close()
            os.dup2(stranger.fileno(), end)

    async def main() -> None:
        connect: Any = loop.connect_read_pipe if reading else loop.connect_write_pipe
        _, protocol = await connect(Closing, open(end, "rb" if reading else "wb", 0))
        peer.send(b"not for us")
        expect_closed(await protocol.lost())
        assert protocol.received == b""
        assert os.read(end, 100) == b"not for us"

    stranger, peer = socket.socketpair()
    read, write = os.pipe()
    end = read if reading else write
    run(main())
    stranger.close()
    peer.close()
    os.close(read)
    os.close(write)


async def test_a_socket_object_as_a_pipe(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        reading, reader = await loop.connect_read_pipe(PipeRecorder, ours)
        theirs.send(b"heard")
        assert await reader.bytes_in(5) == b"heard"
        reading.close()
        assert await reader.lost() is None
        assert ours.fileno() == -1


@pytest.mark.edgeloop_only  # asyncio's own close() raises then
async def test_a_file_object_that_was_detached(loop: Loop) -> None:
    """sys.stdin.detach() leaves the descriptor to the inner object: the pipe goes on."""
    read, write = os.pipe()
    text = io.TextIOWrapper(open(read, "rb"))
    transport, protocol = await loop.connect_read_pipe(PipeRecorder, text)
    inner = text.detach()
    raw = inner.detach()
    os.write(write, b"heard")
    assert await protocol.bytes_in(5) == b"heard"
    os.close(write)
    raw.close()
    transport.close()
