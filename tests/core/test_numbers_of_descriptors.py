"""Descriptors whose numbers the reactor has no place for: high ones, and all of them once it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sockets import unix_pair


@contextlib.contextmanager
def loop_with_high_numbers(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], count: int
) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that is made where so many lower numbers are taken."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        loop = loop_factory()
        stack.callback(loop.close)
        yield loop


@pytest.mark.parametrize("count", [70, 200])
def test_a_loop_whose_own_descriptors_have_high_numbers_is_woken(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], count: int
) -> None:
    with loop_with_high_numbers(loop_factory, count) as loop:
        thread = threading.Timer(0.01, loop.call_soon_threadsafe, [loop.stop])
        thread.start()
        loop.run_forever()
        thread.join()
        ours, theirs = unix_pair()
        with ours, theirs:
            came: list[bytes] = []

            def read() -> None:
                came.append(ours.recv(10))
                loop.stop()

            loop.add_reader(ours, read)
            theirs.send(b"x")
            loop.run_forever()
            loop.remove_reader(ours)
        assert came == [b"x"]


def test_a_server_is_closed_after_its_loop(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = loop_factory()
    listening = socket.create_server(("127.0.0.1", 0))
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, sock=listening))
    loop.close()
    server.close()
    assert listening.fileno() == -1


@pytest.mark.parametrize("count", [70, 200])
def test_a_loop_that_has_nothing_but_its_own_high_numbers_is_woken(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], count: int
) -> None:
    """In a thread: there it watches no descriptor for signals."""
    with loop_with_high_numbers(loop_factory, count) as loop:
        ended: list[str] = []

        def run() -> None:
            try:
                loop.run_forever()
                ended.append("stopped")
            except BaseException as exc:
                ended.append(repr(exc))

        thread = threading.Thread(target=run)
        thread.start()
        for _ in range(3):
            loop.call_soon_threadsafe(int)
            time.sleep(0.01)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        assert ended == ["stopped"]


@pytest.mark.edgeloop_only  # looks at the reactor's list
def test_the_first_number_that_the_reactor_has_no_place_for_is_nobodys(loop: Any) -> None:
    number = len(loop.reactor.channels)
    assert not loop.remove_reader(number)
    assert not loop.remove_writer(number)
