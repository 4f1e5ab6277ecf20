"""connect_read_pipe: real pipes, FIFOs, terminals, devices and sockets."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import fcntl
import gc
import hashlib
import itertools
import os
import socket
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kernel_truth import open_terminal
from pipe_recording import PipeRecorder, read_pipe
from recording import Run, record_errors
from whole_collection import collect_all


def write_and_close(fd: int, data: bytes) -> None:
    """Blocking, for a thread."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.close(fd)


async def test_data_then_the_end() -> None:
    async with read_pipe() as (transport, protocol, write):
        assert isinstance(transport, asyncio.ReadTransport)
        assert protocol.calls == ["connection_made"]
        os.write(write, b"one")
        assert await protocol.bytes_in(3) == b"one"
        os.write(write, b"two")
        assert await protocol.bytes_in(6) == b"onetwo"
        os.close(write)
        assert await protocol.lost() is None
        assert protocol.calls[-2:] == ["eof_received", "connection_lost"]
        assert protocol.calls.count("connection_lost") == 1
        assert transport.get_extra_info("pipe").closed
        assert transport.get_extra_info("no such thing", 7) == 7
        assert transport.is_closing()


async def test_data_and_the_end_in_one_edge() -> None:
    async with read_pipe() as (_, protocol, write):
        os.write(write, b"last words")
        os.close(write)
        assert await protocol.lost() is None
        assert protocol.received == b"last words"


async def test_the_end_that_came_before_the_loop_looked() -> None:
    read, write = os.pipe()
    os.write(write, b"early")
    os.close(write)
    _, protocol = await asyncio.get_running_loop().connect_read_pipe(PipeRecorder, open(read, "rb", 0))
    assert await protocol.lost() is None
    assert protocol.received == b"early"


async def test_twenty_megabytes() -> None:
    data = os.urandom(1 << 20) * 20

    async with read_pipe() as (_, protocol, write):
        copy = os.dup(write)
        os.close(write)
        await asyncio.to_thread(write_and_close, copy, data)
        await protocol.lost()
        assert hashlib.sha256(protocol.received).digest() == hashlib.sha256(data).digest()


async def test_a_full_pipe_is_read_one_buffer_a_turn() -> None:
    """Rule 3: other callbacks get their turn while a pipe that holds a megabyte is emptied."""
    loop = asyncio.get_running_loop()
    async with read_pipe() as (_, protocol, write):
        size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
        turns: list[int] = []

        def turn() -> None:
            turns.append(len(protocol.received))
            if len(protocol.received) < size:
                loop.call_soon(turn)

        os.write(write, b"x" * size)
        loop.call_soon(turn)
        await protocol.bytes_in(size)
        assert max(len(part) for part in protocol.parts) <= 1 << 18
        steps = sorted(set(turns))
        assert max(b - a for a, b in itertools.pairwise(steps)) <= 1 << 18


async def test_pause_and_resume() -> None:
    async with read_pipe() as (transport, protocol, write):
        assert transport.is_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        os.write(write, b"kept")
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.received == b""
        transport.resume_reading()
        transport.resume_reading()
        assert await protocol.bytes_in(4) == b"kept"
        transport.pause_reading()
        os.close(write)  # the end is not told while reading is paused
        for _ in range(5):
            await asyncio.sleep(0)
        assert "eof_received" not in protocol.calls
        transport.resume_reading()
        assert await protocol.lost() is None


async def test_pause_inside_data_received() -> None:
    class Pausing(PipeRecorder):
        def data_received(self, data: bytes) -> None:
            self.transport.pause_reading()
            super().data_received(data)

    read, write = os.pipe()
    size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
    transport, protocol = await asyncio.get_running_loop().connect_read_pipe(Pausing, open(read, "rb", 0))
    os.write(write, b"x" * size)
    os.close(write)
    await protocol.called("data_received")
    for _ in range(5):
        await asyncio.sleep(0)
    assert protocol.calls.count("data_received") == 1
    while len(protocol.received) < size:
        transport.resume_reading()
        await asyncio.sleep(0)
    transport.resume_reading()
    await protocol.lost()


async def test_close() -> None:
    async with read_pipe() as (transport, protocol, write):
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert not transport.is_reading()
        assert await protocol.lost() is None
        assert "eof_received" not in protocol.calls
        assert protocol.calls.count("connection_lost") == 1
        with pytest.raises(BrokenPipeError):
            os.write(write, b"nobody reads")


async def test_close_inside_data_received_ends_the_reading() -> None:
    class Closing(PipeRecorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()

    read, write = os.pipe2(os.O_DIRECT)  # packets: each would be a data_received of its own
    os.write(write, b"one")
    os.write(write, b"two")
    _, protocol = await asyncio.get_running_loop().connect_read_pipe(Closing, open(read, "rb", 0))
    await protocol.lost()
    assert protocol.parts == [b"one"]
    os.close(write)


async def test_fifo(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    read = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    _, protocol = await asyncio.get_running_loop().connect_read_pipe(PipeRecorder, open(read, "rb", 0))
    for _ in range(3):
        await asyncio.sleep(0)
    assert "eof_received" not in protocol.calls  # no writer yet is not the end
    await asyncio.to_thread(path.write_bytes, b"through a name")
    await protocol.lost()
    assert protocol.received == b"through a name"


async def test_packets_are_read_each() -> None:
    """pipe(2), O_DIRECT: a read gives one packet, so a short one does not say that the pipe is empty."""
    async with read_pipe(os.O_DIRECT) as (_, protocol, write):
        for packet in (b"one", b"second", b"3"):
            os.write(write, packet)
        await protocol.bytes_in(10)
        assert protocol.parts == [b"one", b"second", b"3"]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
async def test_socket(kind: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    _, protocol = await asyncio.get_running_loop().connect_read_pipe(PipeRecorder, open(ours.detach(), "rb", 0))
    theirs.send(b"one")
    theirs.send(b"two")
    theirs.close()
    await protocol.lost()
    assert protocol.received == b"onetwo"


async def test_terminal_gives_a_line_at_a_time() -> None:
    master, slave = open_terminal()
    transport, protocol = await asyncio.get_running_loop().connect_read_pipe(PipeRecorder, open(slave, "rb", 0))
    os.write(master, b"one\ntwo\nthree\n")
    await protocol.bytes_in(14)
    assert protocol.parts == [b"one\n", b"two\n", b"three\n"]
    transport.close()
    await protocol.lost()
    os.close(master)


def test_terminal_whose_other_side_goes(run: Run, loop: asyncio.AbstractEventLoop) -> None:
    """A terminal says it with EIO, which is no error to report."""
    errors = record_errors(loop)

    async def main() -> None:
        master, slave = open_terminal()
        _, protocol = await asyncio.get_running_loop().connect_read_pipe(PipeRecorder, open(master, "rb", 0))
        os.write(slave, b"bye")
        await protocol.bytes_in(3)
        os.close(slave)
        error = await protocol.lost()
        assert isinstance(error, OSError)
        assert error.errno == errno.EIO

    run(main())
    assert errors == []


async def test_both_directions_of_one_file() -> None:
    loop = asyncio.get_running_loop()
    master, slave = open_terminal()
    tty.setraw(slave)
    file = open(master, "r+b", 0)
    reading, reader = await loop.connect_read_pipe(PipeRecorder, file)
    writing, writer = await loop.connect_write_pipe(PipeRecorder, open(os.dup(master), "wb", 0))
    same, other = await loop.connect_write_pipe(PipeRecorder, open(master, "wb", 0, closefd=False))
    same.write(b"to the slave")
    assert await asyncio.to_thread(os.read, slave, 100) == b"to the slave"
    writing.write(b"again")
    assert await asyncio.to_thread(os.read, slave, 100) == b"again"
    os.write(slave, b"from the slave")
    await reader.bytes_in(14)
    for transport in (same, writing, reading):
        transport.close()
    await asyncio.gather(reader.lost(), writer.lost(), other.lost())
    os.close(slave)


@pytest.mark.edgeloop_only  # the standard loop reports a PermissionError of epoll, and reads nothing
async def test_devices_without_poll() -> None:
    loop = asyncio.get_running_loop()
    _, empty = await loop.connect_read_pipe(PipeRecorder, open("/dev/null", "rb", 0))
    assert await empty.lost() is None
    assert empty.calls == ["connection_made", "eof_received", "connection_lost"]
    transport, endless = await loop.connect_read_pipe(PipeRecorder, open("/dev/zero", "rb", 0))
    await endless.bytes_in(1 << 20)
    transport.pause_reading()
    count = len(endless.received)
    await asyncio.sleep(0)
    assert len(endless.received) == count
    transport.resume_reading()
    await endless.bytes_in(count + 1)
    transport.close()
    assert await endless.lost() is None


def test_regular_file_is_refused(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with open(tmp_path / "file", "w+b") as file:
            with pytest.raises(ValueError, match=r"^Pipe transport is for pipes/sockets only\.$"):
                await asyncio.get_running_loop().connect_read_pipe(PipeRecorder, file)
            assert not file.closed

    run(main())
    gc.collect()


def test_what_data_received_raises_is_reported(run: Run, loop: asyncio.AbstractEventLoop) -> None:
    class Failing(PipeRecorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"bad":
                raise ZeroDivisionError

    errors = record_errors(loop)

    async def main() -> None:
        read, write = os.pipe()
        _, protocol = await loop.connect_read_pipe(Failing, open(read, "rb", 0))
        os.write(write, b"bad")
        await protocol.bytes_in(3)
        os.write(write, b"good")
        await protocol.bytes_in(7)
        os.close(write)
        assert await protocol.lost() is None

    run(main())
    assert [type(context["exception"]) for context in errors] == [ZeroDivisionError]


def test_what_connection_made_raises_is_reported(run: Run, loop: asyncio.AbstractEventLoop) -> None:
    class Failing(PipeRecorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise ZeroDivisionError

    errors = record_errors(loop)

    async def main() -> None:
        read, write = os.pipe()
        transport, protocol = await loop.connect_read_pipe(Failing, open(read, "rb", 0))
        transport.close()
        await protocol.lost()
        os.close(write)

    run(main())
    assert [type(context["exception"]) for context in errors] == [ZeroDivisionError]


async def test_cancelled_while_connecting() -> None:
    read, write = os.pipe()
    file = open(read, "rb", 0)
    task = asyncio.ensure_future(asyncio.get_running_loop().connect_read_pipe(PipeRecorder, file))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while not file.closed:
        await asyncio.sleep(0)
    os.close(write)


def test_callbacks_run_in_the_callers_context(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: dict[str, str] = {}

    class Looking(PipeRecorder):
        def note(self, call: str) -> None:
            seen[call] = variable.get()
            super().note(call)

    async def main() -> None:
        variable.set("caller's")
        read, write = os.pipe()
        _, protocol = await asyncio.get_running_loop().connect_read_pipe(Looking, open(read, "rb", 0))
        os.write(write, b"x")
        os.close(write)
        await protocol.lost()

    run(main())
    assert seen == dict.fromkeys(("connection_made", "data_received", "eof_received", "connection_lost"), "caller's")


async def test_set_protocol() -> None:
    async with read_pipe() as (transport, first, write):
        assert transport.get_protocol() is first
        second = PipeRecorder()
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        os.write(write, b"x")
        await second.bytes_in(1)
        assert first.received == b""
        transport.set_protocol(first)


def test_repr_and_the_pipe(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = loop_factory()
    read, write = os.pipe()
    file = open(read, "rb", 0)

    async def connect() -> Any:
        transport: Any = (await loop.connect_read_pipe(PipeRecorder, file))[0]
        await asyncio.sleep(0)
        assert f"fd={read}" in repr(transport)
        assert "polling" in repr(transport)
        assert transport._pipe is file
        transport.pause_reading()
        assert "idle" in repr(transport)
        return transport

    transport = loop.run_until_complete(connect())
    loop.close()
    assert "open" in repr(transport)
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport
        collect_all()
    assert file.closed
    os.close(write)
