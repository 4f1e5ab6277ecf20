"""How many turns pass until a write is seen, counted in sleep(0): programs, and more so their tests, know the number."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from recording import Run


class Listener(asyncio.Protocol):
    """Keeps what it gets, and answers each message with ``answer``."""

    def __init__(self, answer: bytes = b"") -> None:
        self.received = b""
        self.answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.answer:
            self.transport.write(self.answer)  # type: ignore[attr-defined]  # a Transport, which typeshed can't know


class Ended(Listener):
    """Notes the end of what it gets."""

    ended = False

    def eof_received(self) -> None:
        self.ended = True


async def pair(there: asyncio.Protocol) -> asyncio.Transport:
    """A transport whose peer is ``there``, on the same loop, with nothing under way."""
    loop = asyncio.get_running_loop()
    here, other = socket.socketpair()
    await loop.create_connection(lambda: there, sock=other)
    transport, _ = await loop.create_connection(lambda: Listener(), sock=here)
    await asyncio.sleep(0.01)
    return transport


async def turns_until(listener: Listener) -> int:
    """How many turns pass until it has received something."""
    turns = 0
    while not listener.received:
        assert turns < 10
        await asyncio.sleep(0)
        turns += 1
    return turns


@pytest.mark.fair_weather
@pytest.mark.parametrize("before", [0, 1, 2, 3])
@pytest.mark.parametrize(("answer", "expected"), [(b"", 2), (b"pong", 3)], ids=["write", "answer"])
def test_a_write_is_seen_after_two_turns_and_its_answer_after_three(
    run: Run, before: int, answer: bytes, expected: int
) -> None:
    """However many turns the writer has taken before."""

    async def main() -> int:
        there = Listener(answer)
        transport = await pair(there)
        here = transport.get_protocol()
        assert isinstance(here, Listener)
        for _ in range(before):
            await asyncio.sleep(0)
        transport.write(b"ping")
        turns = await turns_until(here if answer else there)
        transport.close()
        there.transport.close()
        return turns

    assert run(main()) == expected


@pytest.mark.fair_weather
@pytest.mark.parametrize("before", [0, 1, 2, 3])
@pytest.mark.parametrize("way", ["close", "abort", "write_eof"])
def test_an_end_is_seen_after_as_many_turns(run: Run, before: int, way: str) -> None:
    """Closing takes one turn more: the transport is closed in the turn after ``close``."""

    async def main() -> int:
        there = Ended()
        transport = await pair(there)
        for _ in range(before):
            await asyncio.sleep(0)
        getattr(transport, way)()
        turns = 0
        while not there.ended:
            assert turns < 10
            await asyncio.sleep(0)
            turns += 1
        transport.close()
        there.transport.close()
        return turns

    assert run(main()) == (2 if way == "write_eof" else 3)


@pytest.mark.fair_weather
@pytest.mark.parametrize("of_the_transport", [True, False], ids=["sendfile", "sock_sendfile"])
def test_a_file_is_seen_after_as_many_turns_however_many_came_before(
    run: Run, tmp_path: Path, of_the_transport: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")

    async def turns_after(before: int) -> int:
        loop = asyncio.get_running_loop()
        there = Listener()
        here, other = socket.socketpair()
        here.setblocking(False)
        await loop.create_connection(lambda: there, sock=other)
        with here, path.open("rb") as file:
            transport = None
            if of_the_transport:
                transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
            await asyncio.sleep(0.01)
            for _ in range(before):
                await asyncio.sleep(0)
            sending = loop.sendfile(transport, file) if transport else loop.sock_sendfile(here, file)
            task = loop.create_task(sending)
            turns = await turns_until(there)
            await task
            if transport:
                transport.close()
        there.transport.close()
        return turns

    async def main() -> set[int]:
        return {await turns_after(before) for before in range(4)}

    assert len(run(main())) == 1


@pytest.mark.fair_weather
@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_who_yields_twice_finds_what_was_due_done(run: Run, before: int) -> None:
    """A timer that is due, a reader that has something to read: one turn is enough for each, the second finds it done."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        calls: list[str] = []
        with here, there:
            for _ in range(before):
                await asyncio.sleep(0)
            loop.add_reader(here, lambda: calls.append("readable"))
            there.send(b"x")
            loop.call_at(loop.time() - 1, calls.append, "due")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            loop.remove_reader(here)
        return sorted(set(calls))

    assert run(main()) == ["due", "readable"]


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_who_yields_twice_finds_a_timer_done_that_was_due(run: Run, before: int) -> None:
    """Also where nothing makes the loop ask the kernel in the turn between."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        calls: list[str] = []
        for _ in range(before):
            await asyncio.sleep(0)
        loop.call_at(loop.time() - 1, calls.append, "due")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return calls.copy()  # now: what comes later is too late

    assert run(main()) == ["due"]


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_a_chain_of_callbacks_takes_one_turn_each(run: Run, before: int) -> None:
    """What a callback schedules runs in the next turn, no matter what brought the callback."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        for _ in range(before):
            await asyncio.sleep(0)
        turns: list[int] = []
        yielded = 0

        def link(left: int) -> None:
            turns.append(yielded)
            if left:
                loop.call_soon(link, left - 1)

        loop.call_at(loop.time() - 1, link, 3)
        while yielded < 6:
            await asyncio.sleep(0)
            yielded += 1
        return [later - sooner for sooner, later in itertools.pairwise(turns)]

    assert run(main()) == [1, 1, 1]


def by_thread(loop: asyncio.AbstractEventLoop, other: socket.socket, tell: Callable[[], object]) -> None:
    threading.Thread(target=loop.call_soon_threadsafe, args=(tell,)).start()


def by_peer(loop: asyncio.AbstractEventLoop, other: socket.socket, tell: Callable[[], object]) -> None:
    other.send(b"x")


def by_signal(loop: asyncio.AbstractEventLoop, other: socket.socket, tell: Callable[[], object]) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def by_timer(loop: asyncio.AbstractEventLoop, other: socket.socket, tell: Callable[[], object]) -> None:
    loop.call_later(0.001, tell)


@pytest.mark.parametrize("news", [by_thread, by_peer, by_signal, by_timer])
def test_callbacks_that_never_end_keep_nothing_out(
    run: Run, news: Callable[[asyncio.AbstractEventLoop, socket.socket, Callable[[], object]], None]
) -> None:
    """However seldom a loop that is busy with itself asks the kernel: what comes from outside is told."""

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        told = asyncio.Event()
        turns = 0

        def link() -> None:
            nonlocal turns
            turns += 1
            if turns == 10_000:
                news(loop, there, told.set)
            if not told.is_set():
                loop.call_soon(link)

        def readable() -> None:
            if here.recv(1):
                told.set()

        with here, there:
            here.setblocking(False)
            loop.add_reader(here, readable)
            loop.add_signal_handler(signal.SIGUSR1, told.set)
            link()
            await told.wait()
            loop.remove_signal_handler(signal.SIGUSR1)
            loop.remove_reader(here)
        return turns >= 10_000

    assert run(main())
