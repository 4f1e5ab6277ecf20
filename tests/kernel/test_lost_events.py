"""A wait that is interrupted when it has its events: the kernel has reported them, and the next wait returns them again."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from children import forked
from recording import turn
from sockets import Pair

import edgeloop
from edgeloop.kernel import epoll
from edgeloop.kernel.epoll import Poller

pytestmark = [
    pytest.mark.edgeloop_only,  # it is the loop's own
    pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="there, no Python runs between the wait and its events"),
]

EDGE = select.EPOLLIN | select.EPOLLET


@contextmanager
def interrupted_wait() -> Iterator[None]:
    """KeyboardInterrupt, right after epoll_wait(2): from a signal handler, or for want of memory."""

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_return" and argument.__name__ == "poll" and frame.f_code.co_name == "wait":
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        sys.setprofile(None)


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


@pytest.mark.parametrize("way", ["add", "adopt", "modify", "refresh"])
@pytest.mark.fair_weather
def test_what_an_interrupted_wait_had_is_reported_again(poller: Poller, pair: Pair, way: str) -> None:
    ours, theirs = pair
    number = ours.fileno()
    if way in ("modify", "refresh"):
        poller.add(number, select.EPOLLOUT | select.EPOLLET)
        assert poller.wait(1) == 1
    getattr(poller, way)(number, EDGE)
    theirs.send(b"x")
    with interrupted_wait():
        poller.wait(1)
    assert poller.wait(1) == 1
    assert (poller.fds[0], poller.masks[0]) == (number, select.EPOLLIN)
    assert poller.wait(0) == 0


def test_a_socket_that_was_removed_meanwhile_is_not_reported(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno(), EDGE)
    theirs.send(b"x")
    with interrupted_wait():
        poller.wait(1)
    poller.remove(ours.fileno())
    assert poller.wait(0) == 0


def test_a_reader_is_called_though_its_event_was_interrupted(loop: Any, pair: Pair) -> None:
    ours, theirs = pair
    came: list[bytes] = []
    loop.add_reader(ours, lambda: came.append(ours.recv(10)))
    theirs.send(b"x")
    with interrupted_wait():
        turn(loop)
    turn(loop, 3)
    loop.remove_reader(ours)
    assert came == [b"x"]


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="the destructor comes later there")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that this process has threads
def test_an_eventfd_with_the_lowest_number_is_closed_too() -> None:
    """As in a daemon that has closed its standard input."""

    def child() -> None:
        os.close(0)
        waker = epoll._Waker()
        assert waker.fd == 0
        del waker
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)

    forked(child)


def test_a_waker_is_closed_once() -> None:
    """The second call must not close what has the number by then."""
    other = socket.socket()
    waker = epoll._LockedWaker()
    number = waker.fd
    waker.close()
    os.dup2(other.fileno(), number)
    waker.close()
    thread = threading.Thread(target=waker.wake, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    waker.wake()  # nor does it write to what is no descriptor
    del waker
    os.close(number)
    other.close()
