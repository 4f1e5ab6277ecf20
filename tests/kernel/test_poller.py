"""The epoll set: what is registered, whatever was registered under that number before."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

import edgeloop
from edgeloop.kernel.epoll import Poller

pytestmark = pytest.mark.edgeloop_only  # it is the loop's own

MASK = select.EPOLLIN


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


@pytest.fixture
def readable() -> Iterator[socket.socket]:
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        yield near


@pytest.mark.fair_weather
def test_what_is_registered_already_is_modified(poller: Poller, readable: socket.socket) -> None:
    poller.add(readable.fileno(), select.EPOLLOUT)
    poller.add(readable.fileno(), MASK)
    assert poller.wait(1) == 1  # by the new interest


def test_what_is_not_registered_any_more_is_registered(poller: Poller, readable: socket.socket) -> None:
    poller.modify(readable.fileno(), MASK)
    assert poller.wait(1) == 1


@pytest.mark.parametrize("way", ["add", "modify"])
def test_what_can_not_be_registered_raises(poller: Poller, way: str) -> None:
    with open(__file__) as file, pytest.raises(PermissionError):
        getattr(poller, way)(file.fileno(), MASK)
    number = os.dup(0)
    os.close(number)
    with pytest.raises(OSError, match="Bad file descriptor"):
        getattr(poller, way)(number, MASK)


class Meddled:
    """An epoll object whose registrations somebody else changes as an exception is made, a few times."""

    def __init__(self, epoll: Any) -> None:
        self._epoll = epoll
        self.times = 3

    def register(self, fd: int, mask: int) -> None:
        try:
            self._epoll.register(fd, mask)
        except FileExistsError:
            if self.times:
                self._epoll.unregister(fd)
            self.times -= 1
            raise

    def modify(self, fd: int, mask: int) -> None:
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            if self.times > 0:
                self._epoll.register(fd, mask)
            self.times -= 1
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)


@pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="there, no Python runs between the two calls")
@pytest.mark.parametrize("way", ["add", "modify"])
def test_a_destructor_that_registers_and_removes_is_outlasted(
    poller: Poller, readable: socket.socket, way: str
) -> None:
    pure: Any = poller
    pure._epoll = Meddled(pure._epoll)
    if way == "add":
        poller.add(readable.fileno(), MASK)
    getattr(poller, way)(readable.fileno(), MASK)
    assert poller.wait(1) == 1
