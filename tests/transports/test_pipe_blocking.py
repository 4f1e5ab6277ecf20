"""Somebody who shares the open file description sets it to block: neither the loop nor the interpreter may wait.

Where the loop does wait, a thread lets it go on after a while, and the test fails. In the compiled edition that thread could
not even run if the GIL was held.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_truth import open_terminal
from pipe_recording import PipeRecorder

pytestmark = pytest.mark.edgeloop_only  # asyncio blocks

Loop = asyncio.AbstractEventLoop
KINDS = ["pipe", "fifo", "terminal", "socket"]


def make(kind: str, directory: Path) -> tuple[int, int]:
    """The reading and the writing end."""
    if kind == "pipe":
        return os.pipe()
    if kind == "fifo":
        path = directory / "fifo"
        os.mkfifo(path)
        read = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(read, True)
        return read, os.open(path, os.O_WRONLY)
    if kind == "terminal":
        master, slave = open_terminal()
        tty.setraw(slave)
        return master, slave
    one, other = socket.socketpair()
    return one.detach(), other.detach()


@contextlib.contextmanager
def rescue(unblock: Callable[[], object]) -> Iterator[threading.Event]:
    """Set the event when the call that may not block is over; else ``unblock`` is called, and the test fails."""
    over = threading.Event()
    late: list[bool] = []

    def watch() -> None:
        if not over.wait(10):
            late.append(True)
            unblock()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield over
    finally:
        over.set()
        thread.join()
    assert not late, "the loop was blocked"


@pytest.mark.parametrize("kind", KINDS)
async def test_writing_into_what_is_full(loop: Loop, tmp_path: Path, kind: str) -> None:
    read, write = make(kind, tmp_path)
    other = os.dup(write)
    data = os.urandom(300_000)
    transport, protocol = await loop.connect_write_pipe(PipeRecorder, open(write, "wb", 0))
    os.set_blocking(other, True)
    received = bytearray()

    def read_on() -> None:
        while len(received) < len(data):
            received.extend(os.read(read, 65536))

    with rescue(read_on) as over:
        transport.write(data)
        over.set()
    assert transport.get_write_buffer_size()
    await asyncio.to_thread(read_on)
    assert received == data
    while transport.get_write_buffer_size():
        await asyncio.sleep(0)
    transport.close()
    await protocol.lost()
    os.close(other)
    os.close(read)


@pytest.mark.parametrize("kind", KINDS)
async def test_reading_what_another_has_read(loop: Loop, tmp_path: Path, kind: str) -> None:
    """The event is told, and before the transport comes to read, the data is gone."""
    read, write = make(kind, tmp_path)
    other = os.dup(read)
    transport, protocol = await loop.connect_read_pipe(PipeRecorder, open(read, "rb", 0))
    os.set_blocking(other, True)
    stolen: list[bytes] = []
    with rescue(lambda: os.write(write, b"rescue")) as over:
        os.write(write, b"stolen")
        loop.call_soon(lambda: stolen.append(os.read(other, 100)))  # runs before the event is told
        for _ in range(3):
            await asyncio.sleep(0)
        over.set()
    assert stolen == [b"stolen"]
    assert protocol.received == b""
    os.write(write, b"ours")
    assert await protocol.bytes_in(4) == b"ours"
    transport.close()
    await protocol.lost()
    os.close(other)
    os.close(write)


async def test_datagrams_of_a_given_socket(loop: Loop) -> None:
    """Both directions: nothing has arrived, and the queue is full."""

    class Datagrams(PipeRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.data_received(data)

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=ours)
    os.set_blocking(ours.fileno(), True)
    with theirs:
        stolen: list[bytes] = []
        with rescue(lambda: theirs.send(b"rescue")) as over:
            theirs.send(b"stolen")
            loop.call_soon(lambda: stolen.append(ours.recv(100, socket.MSG_DONTWAIT)))
            for _ in range(3):
                await asyncio.sleep(0)
            over.set()
        assert stolen == [b"stolen"]
        with rescue(lambda: theirs.recv(100)) as over:
            sent = 0
            while not transport.get_write_buffer_size():  # type: ignore[attr-defined]
                transport.sendto(b"%d" % sent)
                sent += 1
            over.set()
        for number in range(sent):
            assert await loop.run_in_executor(None, theirs.recv, 100) == b"%d" % number
        transport.close()
        await protocol.lost()
        await asyncio.sleep(0)
