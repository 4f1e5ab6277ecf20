"""connect_write_pipe: real pipes, terminals, devices and sockets."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import logging
import os
import select
import socket
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kernel_truth import open_terminal
from pipe_recording import PipeRecorder, read_all, write_pipe
from recording import Run, record_errors, turns
from whole_collection import collect_all


def read_to_end(fd: int) -> bytes:
    """Blocking, for a thread."""
    os.set_blocking(fd, True)
    parts = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def fill(transport: Any) -> int:
    """Write until the kernel takes no more; the count of bytes."""
    total = 0
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
        total += 65536
    return total


async def test_write() -> None:
    async with write_pipe() as (transport, protocol, read):
        assert isinstance(transport, asyncio.WriteTransport)
        assert protocol.calls == ["connection_made"]
        transport.write(b"one")
        transport.write(bytearray(b"two"))
        transport.write(memoryview(b"three"))
        transport.write(b"")
        transport.writelines([b"4", bytearray(b"5"), memoryview(b"6")])
        await turns(3)
        assert read_all(read) == b"onetwothree456"
        assert transport.get_write_buffer_size() == 0
        assert transport.can_write_eof()
        assert transport.get_extra_info("pipe").fileno() >= 0


async def test_what_was_written_may_change_afterwards() -> None:
    async with write_pipe() as (transport, _, read):
        data = bytearray(b"before")
        transport.write(data)
        transport.write(memoryview(data))
        data[:] = b"after!"
        await turns(3)
        assert read_all(read) == b"beforebefore"


async def test_twenty_megabytes_with_flow_control() -> None:
    data = os.urandom(1 << 20)

    class Pausable(PipeRecorder):
        def __init__(self) -> None:
            super().__init__()
            self.room = asyncio.Event()
            self.room.set()

        def pause_writing(self) -> None:
            super().pause_writing()
            self.room.clear()

        def resume_writing(self) -> None:
            super().resume_writing()
            self.room.set()

    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    transport, protocol = await loop.connect_write_pipe(Pausable, open(write, "wb", 0))
    reading = loop.run_in_executor(None, read_to_end, read)
    for _ in range(20):
        transport.write(data)
        await protocol.room.wait()
    transport.close()
    assert hashlib.sha256(await reading).digest() == hashlib.sha256(data * 20).digest()
    assert await protocol.lost() is None
    pauses = protocol.calls.count("pause_writing")
    assert pauses > 0
    assert protocol.calls.count("resume_writing") == pauses
    os.close(read)


async def test_water_marks() -> None:
    async with write_pipe() as (transport, protocol, read):
        assert transport.get_write_buffer_limits() == (16384, 65536)
        transport.set_write_buffer_limits(high=200)
        assert transport.get_write_buffer_limits() == (50, 200)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits() == (100, 400)
        with pytest.raises(ValueError, match="must be >= low"):
            transport.set_write_buffer_limits(high=1, low=2)
        fill(transport)
        assert protocol.calls.count("pause_writing") == 1
        transport.write(b"more")
        assert protocol.calls.count("pause_writing") == 1
        while "resume_writing" not in protocol.calls:
            read_all(read)
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() <= 100


def test_written_outside_of_a_running_loop(loop: asyncio.AbstractEventLoop) -> None:
    read, write = os.pipe()
    transport, protocol = loop.run_until_complete(loop.connect_write_pipe(PipeRecorder, open(write, "wb", 0)))
    transport.write(b"now")
    assert os.read(read, 100) == b"now"
    transport.close()
    loop.run_until_complete(protocol.lost())
    os.close(read)


async def test_a_write_leaves_before_write_returns() -> None:
    """Rule 5: whatever comes next in the callback, os._exit() or a long computation, the kernel has it."""
    async with write_pipe() as (transport, _, read):
        for part in (b"head", b"body", b"r" * select.PIPE_BUF):
            transport.write(part)
            assert read_all(read) == part
        transport.writelines([b"1", b"2"])
        assert read_all(read) == b"12"


async def test_packets_stay_apart() -> None:
    """pipe(2), O_DIRECT: each write is a packet, and so is each read."""
    async with write_pipe(os.O_DIRECT) as (transport, _, read):
        for packet in (b"one", b"second", b"3"):
            transport.write(packet)
        await turns(3)
        assert [os.read(read, 100) for _ in range(3)] == [b"one", b"second", b"3"]


def count_packets(read: int) -> int:
    """Read them all, without blocking."""
    count = 0
    while True:
        try:
            os.read(read, 1 << 16)
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.edgeloop_only  # asyncio joins what waits
async def test_packets_that_had_to_wait_stay_apart() -> None:
    async with write_pipe(os.O_DIRECT) as (transport, _, read):
        written = received = 0
        while transport.get_write_buffer_size() < 50:
            transport.write(b"a packet")
            written += 1
        while received < written:
            received += count_packets(read)
            await asyncio.sleep(0)
        await turns(3)
        assert received + count_packets(read) == written


async def test_reader_goes() -> None:
    """Noticed without a write; as nothing is lost, it is no error."""
    async with write_pipe() as (transport, protocol, read):
        os.close(read)
        assert await protocol.lost() is None
        assert transport.is_closing()


async def test_reader_goes_with_data_unsent() -> None:
    async with write_pipe() as (transport, protocol, read):
        fill(transport)
        os.close(read)
        assert isinstance(await protocol.lost(), BrokenPipeError)
        assert transport.get_write_buffer_size() == 0


async def test_reader_goes_while_closing() -> None:
    async with write_pipe() as (transport, protocol, read):
        fill(transport)
        transport.close()
        await turns(3)
        assert "connection_lost" not in protocol.calls
        os.close(read)
        assert isinstance(await protocol.lost(), BrokenPipeError)
        assert protocol.calls.count("connection_lost") == 1


def test_write_after_the_reader_went(run: Run, loop: asyncio.AbstractEventLoop) -> None:
    errors = record_errors(loop)

    async def main() -> None:
        async with write_pipe() as (transport, protocol, read):
            os.close(read)
            transport.write(b"too late")
            assert isinstance(await protocol.lost(), BrokenPipeError)

    run(main())
    assert errors == []


async def test_write_after_close_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with write_pipe() as (transport, protocol, read):
        transport.write(b"before")
        transport.close()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(5):
                transport.write(b"after")
            assert not caplog.records
            transport.write(b"after")
        assert [record.getMessage() for record in caplog.records] == [
            "pipe closed by peer or os.write(pipe, data) raised exception."
        ]
        assert await protocol.lost() is None
        assert read_all(read) == b"before"


async def test_close_sends_what_was_written() -> None:
    async with write_pipe() as (transport, protocol, read):
        total = fill(transport)
        transport.write_eof()
        transport.write_eof()
        transport.close()
        assert transport.is_closing()
        copy = os.dup(read)
        data = await asyncio.to_thread(read_to_end, copy)
        assert len(data) == total
        assert await protocol.lost() is None
        assert protocol.calls.count("connection_lost") == 1
        os.close(copy)


async def test_abort_drops_what_is_unsent() -> None:
    async with write_pipe() as (transport, protocol, read):
        total = fill(transport)
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert await protocol.lost() is None
        assert len(read_all(read)) < total


async def test_abort_after_a_small_write() -> None:
    """What the kernel takes at once has left, as it would have on the standard loop."""
    async with write_pipe() as (transport, protocol, read):
        transport.write(b"short")
        transport.abort()
        await protocol.lost()
        assert read_all(read) == b"short"


def test_regular_file_is_refused(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with open(tmp_path / "file", "wb") as file:
            text = "^Pipe transport is only for pipes, sockets and character devices$"
            with pytest.raises(ValueError, match=text):
                await asyncio.get_running_loop().connect_write_pipe(PipeRecorder, file)
            assert not file.closed

    run(main())
    gc.collect()


async def test_text_is_refused() -> None:
    async with write_pipe() as (transport, _, _):
        with pytest.raises((TypeError, AssertionError)):  # asyncio asserts
            transport.write("text")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
async def test_socket(kind: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    transport, protocol = await asyncio.get_running_loop().connect_write_pipe(
        PipeRecorder, open(ours.detach(), "wb", 0)
    )
    transport.write(b"one")
    transport.write(b"two")
    await turns(3)
    expected = [b"one", b"two"] if kind == socket.SOCK_SEQPACKET else [b"onetwo"]
    assert [theirs.recv(100) for _ in expected] == expected
    theirs.close()
    assert await protocol.lost() is None


@pytest.mark.edgeloop_only  # asyncio takes any byte that comes back for the end
async def test_a_socket_that_answers_is_not_closed() -> None:
    ours, theirs = socket.socketpair()
    transport, protocol = await asyncio.get_running_loop().connect_write_pipe(
        PipeRecorder, open(ours.detach(), "wb", 0)
    )
    theirs.send(b"an answer nobody asked for")
    await turns(3)
    transport.write(b"still open")
    await turns(3)
    assert theirs.recv(100) == b"still open"
    transport.close()
    await protocol.lost()
    theirs.close()


async def test_terminal() -> None:
    master, slave = open_terminal()
    tty.setraw(slave)
    transport, protocol = await asyncio.get_running_loop().connect_write_pipe(PipeRecorder, open(slave, "wb", 0))
    transport.write(b"to the screen")
    await turns(3)
    assert os.read(master, 100) == b"to the screen"
    data = os.urandom(300_000)  # far more than the terminal holds
    transport.write(data)
    seen = bytearray()
    while len(seen) < len(data):
        seen += await asyncio.to_thread(os.read, master, 65536)
    assert seen == data
    transport.close()
    assert await protocol.lost() is None
    os.close(master)


def test_devices(run: Run, loop: asyncio.AbstractEventLoop) -> None:
    errors = record_errors(loop)

    async def main() -> None:
        transport, protocol = await loop.connect_write_pipe(PipeRecorder, open("/dev/null", "wb", 0))
        transport.write(b"x" * 1_000_000)
        assert transport.get_write_buffer_size() == 0
        transport.close()
        assert await protocol.lost() is None
        transport, protocol = await loop.connect_write_pipe(PipeRecorder, open("/dev/full", "wb", 0))
        transport.write(b"x")
        error = await protocol.lost()
        assert isinstance(error, OSError)
        assert error.errno == errno.ENOSPC

    run(main())
    assert errors == []


def test_repr_and_the_pipe(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = loop_factory()
    read, write = os.pipe()
    file = open(write, "wb", 0)

    async def connect() -> Any:
        transport: Any = (await loop.connect_write_pipe(PipeRecorder, file))[0]
        assert f"fd={write}" in repr(transport)
        assert "idle" in repr(transport)
        assert transport._pipe is file
        fill(transport)
        assert "polling" in repr(transport)
        return transport

    transport = loop.run_until_complete(connect())
    loop.close()
    assert "open" in repr(transport)
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport
        collect_all()
    assert file.closed
    os.close(read)
