"""A collection of garbage comes wherever an object is made, on Python 3.11 in the middle of a list's copy too.

What it runs may send: all of that leaves, once, and nothing of what was on its way is lost or leaves twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from datagram_endpoints import endpoint, plain_socket
from pipe_recording import write_pipe
from recording import Recorder, Run, record_errors

Loop = asyncio.AbstractEventLoop
pytestmark = pytest.mark.follows_collections


@contextlib.contextmanager
def each_collection(call: Callable[[], object]) -> Iterator[None]:
    """``call`` at the end of each collection, and a collection for nearly each object that is made."""
    kept: list[Any] = []

    def use_up() -> None:
        # The lists that CPython keeps for the next ones: those that follow are made afresh, and count.
        kept.append([[] for _ in range(100)])

    def collected(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            call()
            use_up()

    threshold = gc.get_threshold()
    gc.callbacks.append(collected)
    use_up()
    gc.set_threshold(1, 1000, 1000)  # of the youngest alone: there are many
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(collected)


def queued(sock: socket.socket) -> list[bytes]:
    """What the kernel has for a socket of the test's own, now."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sock.recv(100))
    return found


@pytest.mark.parametrize("gathered", [2, 8, 40, 63])
def test_datagrams_that_leave_together(run: Run, gathered: int) -> None:
    sent: list[bytes] = []

    async def main() -> None:
        with plain_socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            name = peer.getsockname()
            received: list[bytes] = []
            async with endpoint() as (made, _):
                transport: Any = made

                def send(count: int) -> None:
                    for _ in range(count):
                        data = b"%d" % len(sent)
                        sent.append(data)
                        transport.sendto(data, name)

                send(100)  # one by one, so that what follows is gathered
                most = 0

                def send_more() -> None:
                    if len(sent) < most:
                        send(20)

                for _ in range(20):
                    send(gathered)
                    most = len(sent) + 60
                    with each_collection(send_more):
                        transport.get_write_buffer_size()  # lets go of them
                    for _ in range(10):  # some are left to the end of the turn, or to the next one
                        await asyncio.sleep(0)
                    received += queued(peer)
                send(1)
                received += queued(peer)
                assert sorted(received) == sorted(sent)

    run(main())


@pytest.mark.fair_weather  # abort() drops what the kernel has not taken
@pytest.mark.parametrize("gathered", [8, 40, 63])
def test_a_datagram_endpoint_that_is_aborted(run: Run, gathered: int) -> None:
    """It sends what was gathered; what a collection sends meanwhile may be lost, and nothing leaves twice."""
    count = 0

    async def main() -> None:
        with plain_socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            name = peer.getsockname()
            async with endpoint() as (transport, _):

                def send(more: int) -> None:
                    nonlocal count
                    for _ in range(more):
                        transport.sendto(b"%d" % count, name)
                        count += 1

                send(100)
                send(gathered)
                least = count

                def send_more() -> None:
                    if count < 400:
                        send(40)

                with each_collection(send_more):
                    transport.abort()
            received = [int(data) for data in queued(peer)]
            assert len(set(received)) == len(received)
            assert set(range(least)) <= set(received)

    run(main())


def test_pipes_that_are_nearly_full(run: Run, loop: Loop) -> None:
    """Part of a chunk has left, and another is written: not into the middle of the first."""
    sizes: list[int] = []
    chunk = 8  # bytes, of which each says whose it is

    async def main() -> None:
        async with write_pipe() as (transport, _, read):
            room = fcntl.fcntl(read, fcntl.F_GETPIPE_SZ)

            def write(size: int) -> None:
                number = len(sizes)
                sizes.append(size)
                transport.write(b"%08d" % number * size)

            def write_more() -> None:
                if len(sizes) < most:
                    write(1)

            most = 0
            left = b""
            for size in (room // chunk * 2, room // chunk - 1, 3 * room // chunk, 1):
                for _ in range(5):
                    most = len(sizes) + 4
                    with each_collection(write_more):
                        write(size)
                    while transport.get_write_buffer_size():
                        left += await loop.run_in_executor(None, os.read, read, room // 2)
                        await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    left += os.read(read, room)
            assert len(left) == chunk * sum(sizes)
            seen = set()
            while left:
                number = int(left[:chunk])
                whole = b"%08d" % number * sizes[number]
                assert left.startswith(whole)
                left = left[len(whole) :]
                seen.add(number)
            assert seen == set(range(len(sizes)))

    run(main())


@contextlib.asynccontextmanager
async def stream() -> AsyncIterator[tuple[Any, Any, Callable[[], None]]]:
    one, other = socket.socketpair()
    with other:
        transport, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=one)
        yield transport, protocol, lambda: transport.write(b"x" * 100_000)


@contextlib.asynccontextmanager
async def pipe() -> AsyncIterator[tuple[Any, Any, Callable[[], None]]]:
    async with write_pipe() as (transport, protocol, _):
        yield transport, protocol, lambda: transport.write(b"x" * 100_000)


@contextlib.asynccontextmanager
async def datagrams() -> AsyncIterator[tuple[Any, Any, Callable[[], None]]]:
    with plain_socket() as peer:
        name = peer.getsockname()
        async with endpoint() as (transport, protocol):
            for _ in range(100):
                transport.sendto(b"x", name)

            def send() -> None:
                for _ in range(50):
                    transport.sendto(b"x", name)

            yield transport, protocol, send


@pytest.mark.parametrize("kind", [stream, pipe, datagrams])
def test_what_aborts_in_the_middle(run: Run, loop: Loop, kind: Callable[[], Any]) -> None:
    """At any moment of a write that the kernel takes a part of, or of many: the end is an ordinary one."""

    async def main() -> None:
        errors = record_errors(loop)
        for moment in range(40):
            async with kind() as (transport, protocol, write):
                left = moment

                def abort_then(transport: Any = transport) -> None:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        transport.abort()

                with each_collection(abort_then):
                    for _ in range(3):
                        write()
                transport.abort()
                assert transport.get_write_buffer_size() == 0
                await protocol.lost()
        assert errors == []

    run(main())
