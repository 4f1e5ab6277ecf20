"""KeyboardInterrupt out of a callback of a reader or a protocol: what its event left to do is done when the loop runs again.

All were found by tests/simulation.
"""

from __future__ import annotations

import asyncio
import socket

import pytest
from sockets import Pair

Loop = asyncio.AbstractEventLoop


def fill(sock: socket.socket) -> int:
    """Send until it would block. Return the number of bytes."""
    count = 0
    try:
        while True:
            count += sock.send(bytes(65536))
    except BlockingIOError:
        return count


def empty(sock: socket.socket, count: int) -> None:
    """Receive so many bytes."""
    while count:
        count -= len(sock.recv(count))


def run_for(loop: Loop, seconds: float) -> None:
    """Run until something calls ``stop``, at most that long."""
    timer = loop.call_later(seconds, loop.stop)
    loop.run_forever()
    timer.cancel()


def test_a_reader_that_is_interrupted_and_leaves_something_is_called_again(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    read: list[bytes] = []

    def readable() -> None:
        read.append(ours.recv(1))
        if len(read) == 1:
            raise KeyboardInterrupt
        loop.stop()

    loop.add_reader(ours, readable)
    theirs.send(b"12")
    with pytest.raises(KeyboardInterrupt):
        run_for(loop, 10)
    run_for(loop, 10)
    loop.remove_reader(ours)
    assert read == [b"1", b"2"]


class InterruptedReader(asyncio.Protocol):
    """Its data_received raises KeyboardInterrupt."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        raise KeyboardInterrupt


def test_what_waits_to_be_sent_leaves_though_data_received_was_interrupted(loop: Loop, pair: Pair) -> None:
    """One event says that there is data and that there is room; the callback of the data is interrupted."""
    ours, theirs = pair
    transport, _ = loop.run_until_complete(loop.create_connection(InterruptedReader, sock=ours))
    full = fill(ours)
    transport.write(b"end")
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    loop.run_until_complete(turn)  # EPOLLOUT is armed
    empty(theirs, full)
    theirs.send(b"data")
    with pytest.raises(KeyboardInterrupt):
        run_for(loop, 10)
    received = loop.run_until_complete(asyncio.wait_for(loop.sock_recv(theirs, 10), 10))
    transport.close()
    loop.run_until_complete(asyncio.sleep(0))
    assert received == b"end"


def test_a_program_may_close_its_socket_in_data_received_while_there_is_room(loop: Loop) -> None:
    """EPOLLOUT is armed and nothing waits any more: disarming it fails, and that is nobody's error."""
    ours, theirs = socket.socketpair()
    errors: list[object] = []
    loop.set_exception_handler(lambda loop, context: errors.append(context))

    class Closing(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            ours.close()
            loop.stop()

    with theirs:
        theirs.setblocking(False)
        transport, _ = loop.run_until_complete(loop.create_connection(Closing, sock=ours))
        full = fill(ours)
        transport.write(b"end")
        loop.run_until_complete(asyncio.sleep(0))
        empty(theirs, full)
        while transport.get_write_buffer_size():
            loop.run_until_complete(asyncio.sleep(0))
        empty(theirs, 3)
        theirs.send(b"data")
        run_for(loop, 10)
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
    assert not errors
