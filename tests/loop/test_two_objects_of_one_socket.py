"""Several socket objects, callbacks and calls for one descriptor: each gets its own, as on asyncio."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
from recording import Run, turns
from sockets import Pair


def fill(sock: socket.socket) -> None:
    try:
        while True:
            sock.send(bytes(100_000))
    except BlockingIOError:
        pass


def empty(sock: socket.socket) -> None:
    try:
        while sock.recv(1_000_000):
            pass
    except BlockingIOError:
        pass


async def test_one_object_sends_while_the_other_receives(pair: Pair) -> None:
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    fill(ours)
    other = socket.socket(fileno=ours.fileno())
    try:
        sending = loop.create_task(loop.sock_sendall(ours, b"last"))
        await turns()
        receiving = loop.create_task(loop.sock_recv(other, 100))
        await turns()
        theirs.send(b"answer")
        assert await receiving == b"answer"
        while not sending.done():
            empty(theirs)
            await turns()
    finally:
        other.detach()


async def test_a_call_takes_the_place_of_a_writer(pair: Pair) -> None:
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    fill(ours)
    called: list[int] = []
    loop.add_writer(ours, called.append, 1)
    sending = loop.create_task(loop.sock_sendall(ours, b"last"))
    await turns()
    empty(theirs)
    await sending
    await turns()
    assert called == []
    assert loop.remove_writer(ours) is False


async def test_remove_writer_ends_the_wait_of_a_call(pair: Pair) -> None:
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    fill(ours)
    sending = loop.create_task(loop.sock_sendall(ours, b"last"))
    await turns()
    assert loop.remove_writer(ours) is True
    empty(theirs)
    await turns()
    assert not sending.done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_second_call_beside_a_writer_gets_what_comes(pair: Pair) -> None:
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    received: list[bytes] = []

    async def twice() -> None:
        for _ in range(2):
            received.append(await loop.sock_recv(ours, 100))

    loop.add_writer(ours, int)  # is called in each turn, and has the registration looked at
    receiving = loop.create_task(twice())
    await turns()
    theirs.send(b"one")
    while not received:
        await turns(1)
    await turns()
    theirs.send(b"two")
    await receiving
    assert received == [b"one", b"two"]
    assert loop.remove_writer(ours) is True


@pytest.mark.edgeloop_only  # asyncio waits for ever
async def test_a_second_call_on_a_socket_that_was_closed_ends() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    received: list[bytes] = []

    async def twice() -> None:
        received.append(await loop.sock_recv(ours, 100))
        await loop.sock_recv(ours, 100)

    with ours, theirs:
        ours.setblocking(False)
        receiving = loop.create_task(twice())
        await turns()
        theirs.send(b"one")
        while not received:
            await turns(1)
        ours.close()
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            await receiving
        assert caught.value.errno == errno.EBADF


class Interrupted(socket.socket):
    """Its next call is interrupted as by Ctrl-C, when ``armed``."""

    armed = False

    def _interrupt(self) -> None:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt

    def recv(self, *args: Any) -> bytes:
        self._interrupt()
        return super().recv(*args)

    def send(self, *args: Any) -> int:
        self._interrupt()
        return super().send(*args)


def test_an_interrupted_call_goes_on_when_the_loop_runs_again(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    plain, theirs = socket.socketpair()
    ours = Interrupted(fileno=plain.detach())
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        fill(ours)

        async def both() -> list[Any]:
            return list(await asyncio.gather(loop.sock_recv(ours, 100), loop.sock_sendall(ours, b"last")))

        task = loop.create_task(both())
        run(turns())
        for end in (lambda: theirs.send(b"data"), lambda: empty(theirs)):
            ours.armed = True
            end()
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(asyncio.wait_for(asyncio.shield(task), 60))
        assert run(asyncio.wait_for(task, 60)) == [b"data", None]


class Meanwhile(socket.socket):
    """Does something else before its second receive or send."""

    meanwhile: Any = None

    def _act(self) -> None:
        if self.meanwhile is not None:
            self.meanwhile()

    def recv(self, *args: Any) -> bytes:
        self._act()
        return super().recv(*args)

    def send(self, *args: Any) -> int:
        self._act()
        return super().send(*args)


@pytest.mark.edgeloop_only  # asyncio reports an InvalidStateError, or calls what has no right to be called any more
@pytest.mark.parametrize("what", ["cancel", "cancel and raise", "watch"])
@pytest.mark.parametrize("sends", [False, True])
async def test_a_call_that_ends_its_own_wait(what: str, sends: bool) -> None:
    loop = asyncio.get_running_loop()
    reports: list[Any] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    plain, theirs = socket.socketpair()
    ours = Meanwhile(fileno=plain.detach())
    called = asyncio.Event()

    def act() -> None:
        ours.meanwhile = None
        if what == "watch":
            watch = loop.add_writer if sends else loop.add_reader
            watch(ours, called.set)
            return
        task.cancel()
        if what == "cancel and raise":
            raise ValueError(what)

    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        if sends:
            fill(ours)
        task: asyncio.Task[Any] = loop.create_task(loop.sock_sendall(ours, b"x") if sends else loop.sock_recv(ours, 9))
        await turns()
        ours.meanwhile = act
        if sends:
            empty(theirs)
        else:
            theirs.send(b"data")
        if what == "watch":
            await task
            theirs.send(b"more")
            await called.wait()
            loop.remove_reader(ours)
            loop.remove_writer(ours)
        else:
            with pytest.raises(asyncio.CancelledError):
                await task
    assert reports == []
