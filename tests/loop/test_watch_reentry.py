"""What a Watch drops may run code that comes back to it: destructors of arguments, callbacks of futures."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Callable

import pytest
from eager_collector import eager_collector
from recording import Run
from sockets import Pair

pytestmark = pytest.mark.counts_references


class Dropped:
    """An argument that calls back when nobody refers to it any more."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def __del__(self) -> None:
        self.call()


def ignore(*arguments: object) -> None:
    pass


@pytest.mark.parametrize("undo", ["add", "remove", "recv", "close"])
def test_a_reader_that_a_destructor_adds_stays(
    loop: asyncio.AbstractEventLoop, run: Run, pair: Pair, undo: str
) -> None:
    """The destructor's word is the later one: the callback it adds is called."""
    ours, theirs = pair

    async def main() -> str:
        called = loop.create_future()

        def note(name: str) -> None:
            ours.recv(100)
            if not called.done():
                called.set_result(name)

        def come_back() -> None:
            if undo == "close":
                other, peer = socket.socketpair()
                loop.add_reader(other, ignore)
                loop.remove_reader(other)
                other.close()
                peer.close()
            loop.add_reader(ours, note, "destructor's")

        loop.add_reader(ours, ignore, Dropped(come_back))
        if undo == "remove":
            assert loop.remove_reader(ours)
        elif undo == "recv":
            task = asyncio.ensure_future(loop.sock_recv(ours, 100))
            await asyncio.sleep(0)
            task.cancel()
        else:
            loop.add_reader(ours, note, "other")
        await asyncio.sleep(0)
        theirs.send(b"data")
        name = await asyncio.wait_for(called, 5)
        assert loop.remove_reader(ours)
        assert not loop.remove_reader(ours)
        return str(name)

    assert run(main()) == "destructor's"


def test_a_writer_that_a_destructor_adds_stays(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    ours, _ = pair

    async def main() -> str:
        called = loop.create_future()

        def note(name: str) -> None:
            if not called.done():
                called.set_result(name)

        loop.add_writer(ours, ignore, Dropped(lambda: loop.add_writer(ours, note, "destructor's")))
        loop.add_writer(ours, note, "other")
        name = await asyncio.wait_for(called, 5)
        assert loop.remove_writer(ours)
        return str(name)

    assert run(main()) == "destructor's"


def test_the_next_call_may_come_while_the_last_is_answered(
    loop: asyncio.AbstractEventLoop, run: Run, pair: Pair
) -> None:
    """A future of the program's own class may run code when its result is set; a buffer's destructor too."""
    ours, theirs = pair
    gc.collect()
    stop = threading.Event()

    def others() -> None:
        while not stop.is_set():
            pass

    class Buffer(bytearray):
        def __del__(self) -> None:
            loop.call_soon(ignore)
            with socket.socket() as other:
                other.setblocking(False)
                loop.add_reader(other, ignore)
                loop.remove_reader(other)

    async def main() -> bytes:
        received = b""
        for number in range(300):
            loop.call_soon(theirs.send, b"%03d" % number)
            buffer = Buffer(100)
            waiting = asyncio.ensure_future(loop.sock_recv_into(ours, buffer))
            count = await waiting
            received += buffer[:count]
            del buffer, waiting
        return received

    thread = threading.Thread(target=others)
    thread.start()
    try:
        with eager_collector():
            assert run(main()) == b"".join(b"%03d" % number for number in range(300))
    finally:
        stop.set()
        thread.join()


def test_a_socket_whose_recv_closes_it(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """Code of the program's in the middle of the system call."""

    class Closing(socket.socket):
        calls = 0

        def recv(self, *arguments: int) -> bytes:
            self.calls += 1
            if self.calls == 2:
                loop.remove_reader(self)
                data = super().recv(*arguments)
                self.close()
                return data
            return super().recv(*arguments)

    first, theirs = socket.socketpair()
    with Closing(fileno=first.detach()) as ours, theirs:
        ours.setblocking(False)

        async def main() -> bytes:
            loop.call_later(0.001, theirs.send, b"data")
            return await asyncio.wait_for(loop.sock_recv(ours, 100), 5)

        assert run(main()) == b"data"


def test_a_reader_that_raises_out_of_the_loop_loses_no_other(
    loop: asyncio.AbstractEventLoop, run: Run, pair: Pair
) -> None:
    ours, theirs = pair
    called: list[bytes] = []

    def interrupt() -> None:
        theirs.recv(100)
        raise KeyboardInterrupt

    loop.add_reader(theirs, interrupt)
    loop.add_reader(ours, lambda: called.append(ours.recv(1)))
    ours.send(b"x")
    theirs.send(b"yz")
    with pytest.raises(KeyboardInterrupt):
        run(asyncio.sleep(0.01))
    run(asyncio.sleep(0.01))
    assert called == [b"y", b"z"]
    loop.remove_reader(ours)
    loop.remove_reader(theirs)
