"""Rules 1 to 5, 7 and 8 of edge triggering (docs/edges.md): for each a test that fails when the rule is broken."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from typing import Any

import pytest
from kernel_truth import EDGE, IN, OUT, RDHUP, epoll_set
from pipe_recording import PipeRecorder
from recording import Recorder, Run, attach, reset, turns, until

pytestmark = pytest.mark.edgeloop_only


class Sips(asyncio.BufferedProtocol):
    """Reads through a buffer of 1 KiB and notes each reading under its name."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.buffer = bytearray(1024)
        self.count = 0

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.log.append(self.name)
        self.count += nbytes


# Rule 1: register once, edge-triggered; MOD for changes, DEL before close.


async def test_1_one_registration_with_epollet(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport = await attach(ours, Recorder())
        fd = ours.fileno()
        assert epoll_set(loop)[fd] & (IN | OUT | RDHUP | EDGE) == IN | RDHUP | EDGE
        assert all(mask & EDGE for mask in epoll_set(loop).values())
        for _ in range(3):
            transport.pause_reading()
            assert epoll_set(loop)[fd] & IN
            transport.resume_reading()
        transport.close()
        await turns(3)
        assert fd not in epoll_set(loop)


async def test_1_deleted_before_close(loop: asyncio.AbstractEventLoop) -> None:
    """Else the set keeps the file for as long as anybody has a duplicate, and tells of it under a stale number."""
    ours, theirs = socket.socketpair()
    with theirs:
        fd = ours.fileno()
        duplicate = os.dup(fd)
        try:
            transport = await attach(ours, Recorder())
            assert fd in epoll_set(loop)
            transport.abort()
            await turns(3)
            assert fd not in epoll_set(loop)
        finally:
            os.close(duplicate)


# Rule 2: only EAGAIN, or a short read without RDHUP/HUP/ERR, ends readability.


async def test_2_data_and_fin_in_one_edge() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"last words")
    theirs.shutdown(socket.SHUT_WR)
    with theirs:
        protocol = Recorder()
        await attach(ours, protocol)
        assert await protocol.lost() is None
        assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
        assert protocol.received == b"last words"


async def test_2_data_and_fin_while_paused() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        protocol = Recorder()
        transport = await attach(ours, protocol)
        transport.pause_reading()
        theirs.sendall(b"last words")
        theirs.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.01)
        assert protocol.calls == ["connection_made"]
        transport.resume_reading()
        await protocol.lost()
        assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]


# Rule 3: one buffer each turn; what is left comes back by the deferred list.


def test_3_a_flood_does_not_starve_the_others(run: Run) -> None:
    async def main() -> None:
        flood, flooding = socket.socketpair()
        quiet, whispering = socket.socketpair()
        with flooding, whispering:
            log: list[str] = []
            loud, soft = Sips("flood", log), Sips("quiet", log)
            for sock, protocol in ((flood, loud), (quiet, soft)):
                transport = await attach(sock, protocol)
                transport.pause_reading()
            flooding.sendall(bytes(100_000))
            whispering.sendall(b"?")
            await asyncio.sleep(0.01)
            for sock_protocol in (loud, soft):
                transports[sock_protocol.name].resume_reading()
            counts = [0]
            while loud.count < 100_000:
                await asyncio.sleep(0)
                counts.append(loud.count)
            assert log.index("quiet") <= 2
            # Callbacks too have their turn after each buffer.
            assert max(after - before for before, after in itertools.pairwise(counts)) <= 1024

    transports: dict[str, Any] = {}
    original = Sips.connection_made

    def connection_made(self: Sips, transport: Any) -> None:
        transports[self.name] = transport

    Sips.connection_made = connection_made  # type: ignore[method-assign, assignment]
    try:
        run(main())
    finally:
        for transport in transports.values():
            transport.abort()
        Sips.connection_made = original  # type: ignore[method-assign]
        run(turns(2))


async def test_3_a_full_buffer_is_followed_by_the_rest() -> None:
    """Nothing arrives after it, so that no edge will ever tell of the second buffer."""
    ours, theirs = socket.socketpair()
    theirs.sendall(bytes(50_000))
    with theirs:
        protocol = Sips("all", [])
        transport = await attach(ours, protocol)
        await until(lambda: protocol.count == 50_000)
        transport.abort()
        await turns(2)


# Rule 4: EPOLLOUT by MOD when a write would block, and no edge lost between the two.


@pytest.mark.fair_weather  # one may
async def test_4_epollout_only_when_a_write_would_block(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        transport = await attach(ours, Recorder())
        transport.write(b"small")
        await turns(2)
        assert not epoll_set(loop)[ours.fileno()] & OUT
        data = os.urandom(3_000_000)
        transport.write(data)
        assert transport.get_write_buffer_size() > 0
        assert epoll_set(loop)[ours.fileno()] & (OUT | EDGE) == OUT | EDGE
        received = bytearray()
        while len(received) < 5 + len(data):
            received += await loop.sock_recv(theirs, 100_000)
        assert received[5:] == data
        assert transport.get_write_buffer_size() == 0
        transport.abort()
        await turns(2)


async def test_4_blocked_again_and_again(loop: asyncio.AbstractEventLoop) -> None:
    """The peer empties the pipe completely each time, so that each edge is the only one there will be."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        transport = await attach(ours, Recorder())
        for _ in range(20):
            transport.write(bytes(700_000))
            missing = 700_000
            while missing:
                try:
                    missing -= len(theirs.recv(1 << 20))
                except BlockingIOError:
                    await asyncio.sleep(0)
            assert transport.get_write_buffer_size() == 0
        transport.abort()
        await turns(2)


# Rule 5, when bytes leave, and in how many system calls: tests/transports/test_when_bytes_leave.py and
# tests/kernel/test_system_calls_of_writes.py.


# Rule 7: pause is a flag, and resuming a readable channel needs no edge.


async def test_7_what_came_while_paused_is_told_on_resume() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        protocol = Recorder()
        transport = await attach(ours, protocol)
        transport.pause_reading()
        theirs.sendall(b"waiting")
        await asyncio.sleep(0.01)  # the edge has come and gone
        assert protocol.calls == ["connection_made"]
        transport.resume_reading()
        await until(lambda: bool(protocol.received))
        assert protocol.received == b"waiting"
        transport.abort()
        await protocol.lost()


# Rule 8: HUP and ERR make both directions look for themselves.


@pytest.mark.parametrize("reading", [True, False], ids=["reading", "blocked in a write, reading paused"])
async def test_8_a_reset_is_noticed(loop: asyncio.AbstractEventLoop, reading: bool) -> None:
    made: asyncio.Future[Recorder] = loop.create_future()

    def factory() -> Recorder:
        made.set_result(Recorder())
        return made.result()

    server = await loop.create_server(factory, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    protocol = await made
    await turns(2)
    if not reading:
        protocol.transport.pause_reading()
        protocol.transport.write(bytes(20_000_000))
        assert protocol.transport.get_write_buffer_size() > 0
    reset(client)
    assert isinstance(await protocol.lost(), ConnectionError)
    server.close()
    await server.wait_closed()


async def test_8_a_hang_up_without_data_is_the_end() -> None:
    """poll(2) of a pipe whose writer has gone says POLLHUP alone."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    _, protocol = await loop.connect_read_pipe(PipeRecorder, open(reading, "rb", 0))
    os.close(writing)
    await protocol.lost()
    assert protocol.calls == ["connection_made", "eof_received", "connection_lost"]


async def test_8_an_error_without_room_ends_a_blocked_write() -> None:
    """poll(2) of a full pipe whose reader has gone says POLLERR alone."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    transport, protocol = await loop.connect_write_pipe(PipeRecorder, open(writing, "wb", 0))
    transport.write(bytes(1_000_000))
    await asyncio.sleep(0.01)
    assert transport.get_write_buffer_size() > 0
    os.close(reading)
    assert isinstance(await protocol.lost(), BrokenPipeError)
