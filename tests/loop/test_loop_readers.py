"""add_reader and add_writer: level-triggered to the caller, whatever the kernel interface below."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from recording import turn
from sockets import Pair


def fill(sock: socket.socket) -> int:
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += sock.send(b"x" * 65536)
    return total


def test_reader_gets_its_arguments(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    seen: list[tuple[Any, ...]] = []

    def read(*args: Any) -> None:
        seen.append(args)
        loop.stop()

    loop.add_reader(pair[0], read, 1, "two")
    pair[1].send(b"x")
    loop.run_forever()
    assert seen == [(1, "two")]
    loop.remove_reader(pair[0])


def test_return_values(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    fd = pair[0].fileno()
    assert loop.remove_reader(fd) is False
    assert loop.remove_writer(fd) is False
    assert loop.add_reader(fd, print) is None
    assert loop.add_writer(fd, print) is None
    assert loop.remove_reader(fd) is True
    assert loop.remove_reader(fd) is False
    assert loop.remove_writer(fd) is True
    assert loop.remove_writer(fd) is False


@pytest.mark.fair_weather  # counts turns
def test_fd_or_anything_with_fileno(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    seen: list[str] = []
    pair[1].send(b"x")
    loop.add_reader(pair[0], seen.append, "socket")
    turn(loop)
    loop.add_reader(pair[0].fileno(), seen.append, "number")
    turn(loop)
    assert loop.remove_reader(pair[0]) is True
    assert seen == ["socket", "number"]


def test_a_reader_that_reads_only_part_is_called_again(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    read: list[bytes] = []

    def one_byte() -> None:
        read.append(pair[0].recv(1))
        if len(read) == 10:
            loop.stop()

    loop.add_reader(pair[0], one_byte)
    pair[1].send(b"0123456789")
    loop.run_forever()
    loop.remove_reader(pair[0])
    assert b"".join(read) == b"0123456789"


def test_a_reader_that_reads_nothing_is_called_again(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    calls: list[int] = []

    def count() -> None:
        calls.append(1)
        if len(calls) == 5:
            loop.stop()

    loop.add_reader(pair[0], count)
    pair[1].send(b"x")
    loop.run_forever()
    loop.remove_reader(pair[0])
    assert len(calls) == 5


def test_a_reader_sees_the_end_again_and_again(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    read: list[bytes] = []

    def at_end() -> None:
        read.append(pair[0].recv(10))
        if len(read) == 3:
            loop.stop()

    loop.add_reader(pair[0], at_end)
    pair[1].shutdown(socket.SHUT_WR)
    loop.run_forever()
    loop.remove_reader(pair[0])
    assert read == [b"", b"", b""]


def test_a_reader_is_not_called_without_data(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    calls: list[int] = []
    loop.add_reader(pair[0], calls.append, 1)
    turn(loop, 3)
    assert calls == []
    pair[1].send(b"x")
    turn(loop)
    pair[0].recv(10)
    after = len(calls)
    assert after >= 1
    turn(loop, 3)
    assert len(calls) == after
    loop.remove_reader(pair[0])


def test_data_that_was_there_before_the_reader(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    pair[1].send(b"x")
    loop.add_reader(pair[0], loop.stop)
    loop.run_forever()
    loop.remove_reader(pair[0])
    loop.add_reader(pair[0], loop.stop)
    loop.run_forever()
    loop.remove_reader(pair[0])


def test_a_writer_is_called_as_long_as_there_is_space(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    calls: list[int] = []

    def count() -> None:
        calls.append(1)
        if len(calls) == 5:
            loop.stop()

    loop.add_writer(pair[0], count)
    loop.run_forever()
    assert len(calls) == 5
    loop.remove_writer(pair[0])
    turn(loop, 2)
    assert len(calls) == 5


def test_a_writer_waits_for_space(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    total = fill(pair[0])
    calls: list[int] = []

    def count() -> None:
        calls.append(1)
        loop.stop()

    loop.add_writer(pair[0], count)
    turn(loop, 3)
    assert calls == []
    while total > 0:
        total -= len(pair[1].recv(1 << 20))
    loop.run_forever()
    assert calls
    loop.remove_writer(pair[0])


@pytest.mark.fair_weather  # counts turns
def test_reader_and_writer_of_one_descriptor(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    seen: list[str] = []
    loop.add_reader(pair[0], seen.append, "read")
    loop.add_writer(pair[0], seen.append, "write")
    turn(loop)
    assert seen == ["write"]
    pair[1].send(b"x")
    turn(loop)
    assert sorted(seen[1:]) == ["read", "write"]
    loop.remove_writer(pair[0])
    seen.clear()
    turn(loop)
    assert seen == ["read"]
    loop.remove_reader(pair[0])
    loop.add_writer(pair[0], seen.append, "write")
    seen.clear()
    turn(loop)
    assert seen == ["write"]
    loop.remove_writer(pair[0])


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_adding_again_replaces(loop: asyncio.AbstractEventLoop, pair: Pair, kind: str) -> None:
    add: Callable[..., object] = getattr(loop, f"add_{kind}")
    seen: list[str] = []
    pair[1].send(b"x")
    add(pair[0], seen.append, "old")
    add(pair[0], seen.append, "new")
    turn(loop, 2)
    assert set(seen) == {"new"}
    remove: Callable[..., bool] = getattr(loop, f"remove_{kind}")
    assert remove(pair[0]) is True
    assert remove(pair[0]) is False


def test_a_reader_that_removes_itself(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    calls: list[int] = []

    def once() -> None:
        calls.append(1)
        assert loop.remove_reader(pair[0]) is True

    loop.add_reader(pair[0], once)
    pair[1].send(b"x")
    turn(loop, 4)
    assert calls == [1]


def test_removed_after_its_event_arrived(loop: asyncio.AbstractEventLoop) -> None:
    """Two descriptors are ready in one turn; whichever runs first removes the other."""
    pairs = [socket.socketpair() for _ in range(2)]
    calls: list[int] = []

    def remove(other: int) -> None:
        calls.append(other)
        loop.remove_reader(pairs[other][0])

    for index, (ours, theirs) in enumerate(pairs):
        loop.add_reader(ours, remove, 1 - index)
        theirs.send(b"x")
    turn(loop)
    assert len(calls) == 1
    for ours, theirs in pairs:
        loop.remove_reader(ours)
        ours.close()
        theirs.close()


@pytest.mark.fair_weather  # counts turns
def test_a_closed_and_reused_descriptor_is_a_new_one(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []
    ours, theirs = socket.socketpair()
    loop.add_reader(ours, seen.append, "old")
    theirs.send(b"x")
    number = ours.fileno()
    loop.remove_reader(ours)
    ours.close()
    theirs.close()
    new_ours, new_theirs = socket.socketpair()
    with new_ours, new_theirs:
        if new_ours.fileno() != number:
            os.dup2(new_ours.fileno(), number)
            new_ours.close()
            new_ours = socket.socket(fileno=number)
        loop.add_reader(number, seen.append, "new")
        turn(loop, 2)
        assert seen == []
        new_theirs.send(b"y")
        turn(loop)
        assert seen == ["new"]
        loop.remove_reader(number)
        new_ours.close()


def test_a_closed_file_object_can_still_be_removed(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        loop.add_reader(ours, print)
        ours.close()
        assert loop.remove_reader(ours) is True
        with pytest.raises(ValueError, match="Invalid file"):
            loop.remove_reader(ours)
    ours, theirs = socket.socketpair()
    with theirs:
        loop.add_writer(ours, print)
        ours.close()
        assert loop.remove_writer(ours) is True
        with pytest.raises(ValueError, match="Invalid file"):
            loop.remove_writer(ours)


def test_a_reader_that_closes_its_socket(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []
    ours, theirs = socket.socketpair()

    def close() -> None:
        seen.append("closed")
        ours.close()

    with theirs:
        loop.add_reader(ours, close)
        theirs.send(b"x")
        turn(loop, 3)
        assert seen == ["closed"]
        assert loop.remove_reader(ours) is True


@pytest.mark.edgeloop_only
def test_a_reader_whose_number_goes_to_another_file(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    seen: list[str] = []
    ours, theirs = socket.socketpair()
    number = ours.fileno()

    def replace() -> None:
        seen.append("old")
        os.dup2(pair[0].fileno(), number)  # closes what had the number

    with ours, theirs:
        pair[1].send(b"x")
        loop.add_reader(ours, replace)
        theirs.send(b"x")
        turn(loop, 3)
        assert seen == ["old"]  # nobody asked for the new one
        loop.add_reader(number, seen.append, "new")
        turn(loop)
        assert seen == ["old", "new"]
        loop.remove_reader(number)


@pytest.mark.edgeloop_only
def test_a_reader_that_gives_its_number_to_another_reader(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    seen: list[str] = []
    ours, theirs = socket.socketpair()
    number = ours.fileno()

    def replace() -> None:
        seen.append("old")
        os.dup2(pair[0].fileno(), number)
        loop.add_reader(number, seen.append, "new")

    with ours, theirs:
        loop.add_reader(ours, replace)
        theirs.send(b"x")
        turn(loop, 2)
        assert seen == ["old"]
        pair[1].send(b"x")
        turn(loop)
        assert seen == ["old", "new"]
        loop.remove_reader(number)


def test_an_exception_in_a_reader_keeps_it(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    def fail() -> None:
        if len(contexts) == 2:
            loop.stop()
        raise ValueError("in a reader")

    loop.add_reader(pair[0], fail)
    pair[1].send(b"x")
    loop.run_forever()
    assert len(contexts) == 3
    assert loop.remove_reader(pair[0]) is True


def test_many_descriptors_at_once(loop: asyncio.AbstractEventLoop) -> None:
    pairs = [socket.socketpair() for _ in range(300)]
    seen: set[int] = set()

    def read(index: int) -> None:
        pairs[index][0].recv(1)
        seen.add(index)
        if len(seen) == len(pairs):
            loop.stop()

    for index, (ours, theirs) in enumerate(pairs):
        loop.add_reader(ours, read, index)
        theirs.send(b"x")
    loop.run_forever()
    for ours, theirs in pairs:
        assert loop.remove_reader(ours) is True
        ours.close()
        theirs.close()


@pytest.mark.parametrize("method", ["remove_reader", "remove_writer"])
async def test_removing_nothing_leaves_the_calls_of_the_loop_alone(
    loop: asyncio.AbstractEventLoop, listener: socket.socket, method: str
) -> None:
    """They have no file object either."""
    listener.setblocking(False)
    accepting = asyncio.ensure_future(loop.sock_accept(listener))
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="Invalid file object: None"):
        getattr(loop, method)(None)
    with socket.create_connection(listener.getsockname()):
        accepted, _ = await accepting
        accepted.close()
