"""The epoll set: what is registered, whatever was registered under that number before."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from descriptors import open_descriptors

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


def test_what_is_open_is_adopted_once(poller: Poller, readable: socket.socket) -> None:
    assert poller.adopt(readable.fileno(), MASK) is True
    assert poller.wait(1) == 1
    assert poller.adopt(readable.fileno(), MASK) is False


def test_what_this_set_can_not_have_is_not_adopted(poller: Poller) -> None:
    """Closed, a file that epoll refuses, the set itself."""
    number = os.dup(0)
    os.close(number)
    assert poller.adopt(number, MASK) is False
    with open(__file__) as file:
        assert poller.adopt(file.fileno(), MASK) is False
    assert poller.adopt(poller.fileno(), MASK) is False


def test_what_went_wrong_otherwise_is_raised(poller: Poller) -> None:
    with select.epoll() as around:
        around.register(poller.fileno(), MASK)
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            poller.adopt(around.fileno(), MASK)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        poller.refresh(poller.fileno(), MASK)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        poller.remove(poller.fileno())


@pytest.mark.parametrize("closed", [False, True])
def test_what_its_owner_has_closed_is_neither_refreshed_nor_removed(poller: Poller, closed: bool) -> None:
    near, far = socket.socketpair()
    with near, far:
        number = near.fileno()
        if closed:
            near.close()
        poller.refresh(number, MASK)  # never registered, or closed
        poller.remove(number)
        assert poller.wait(0) == 0


def test_a_wake_up_is_an_event_though_the_counter_is_full() -> None:
    before = open_descriptors()
    poller = Poller()
    new = {fd: what for fd, what in open_descriptors().items() if fd not in before}
    (waker,) = (fd for fd, what in new.items() if "eventfd" in what)
    os.write(waker, (2**64 - 2).to_bytes(8, sys.byteorder))  # eventfd(2): one more would block
    assert poller.wait(1) == 1
    poller.wake()
    poller.close()
    poller.wake()  # of a closed set: nothing happens


def test_a_poller_that_gets_only_one_of_its_descriptors_closes_it() -> None:
    """At once, though the exception's traceback refers to the object."""
    free = os.dup(0)
    os.close(free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)) as raised:
            Poller()
        again = os.dup(0)
        os.close(again)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert again == free
    del raised
