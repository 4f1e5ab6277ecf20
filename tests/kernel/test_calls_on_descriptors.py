"""What the calls on sockets and pipes return when there is nothing, no room, or no connection any more."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from descriptors import open_descriptors
from sockets import Pair, listening_socket

import edgeloop
from edgeloop.kernel import connection_socket, pipes, sockets

pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather]  # its own functions; each call's own result

pure = pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="there, the system call is made in C")


def test_reading_what_is_not_there_yet(pair: Pair) -> None:
    ours, _ = pair
    number = ours.fileno()
    assert sockets.recv(number, ours) is None
    assert sockets.recv_large(number, ours) is None
    assert sockets.recv_message(number, ours) is None
    assert sockets.recv_into(number, ours, bytearray(10)) == -1
    assert sockets.recv_message_into(number, ours, bytearray(10)) == (-1, False)


def test_reading_what_is_there(pair: Pair) -> None:
    ours, theirs = pair
    number = ours.fileno()
    buffer = bytearray(10)
    theirs.send(b"abcdefghijk")
    assert sockets.recv_into(number, ours, memoryview(buffer)[:3]) == 3
    assert sockets.recv_message_into(number, ours, memoryview(buffer)[3:5]) == (2, False)
    assert buffer[:5] == b"abcde"
    assert sockets.recv_message(number, ours) == b"fghijk"
    theirs.send(b"x")
    assert sockets.recv(number, ours) == b"x"
    theirs.send(b"y")
    assert sockets.recv_large(number, ours) == b"y"
    theirs.shutdown(socket.SHUT_WR)
    assert sockets.recv(number, ours) == sockets.recv_large(number, ours) == sockets.recv_message(number, ours) == b""
    assert sockets.recv_into(number, ours, buffer) == 0
    assert sockets.recv_message_into(number, ours, buffer) == (0, False)


def test_writing_where_there_is_no_room(pair: Pair) -> None:
    ours, _ = pair
    number = ours.fileno()
    while sockets.send(number, ours, bytes(65536)) > 0:
        pass
    assert sockets.send(number, ours, b"x") == -1
    assert sockets.send_many(number, ours, [b"x", b"y"]) == -1


@pytest.mark.parametrize("count", [1, 1023, 1024, 1025, 3000])
def test_a_call_takes_no_more_chunks_than_the_kernel_does(pair: Pair, count: int) -> None:
    ours, theirs = pair
    sent = sockets.send_many(ours.fileno(), ours, [b"x"] * count)
    assert 0 < sent <= min(count, 1024)
    assert len(theirs.recv(10000)) == sent


@pytest.fixture(
    params=[
        "not blocking",
        pytest.param(
            "blocking", marks=pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="blocks without threads")
        ),
    ]
)
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Its owner may have set it to block."""
    with listening_socket() as listening:
        listening.setblocking(False)
        os.set_blocking(listening.fileno(), request.param == "blocking")
        yield listening


def connect(listening: socket.socket) -> socket.socket:
    """A client that can be accepted by now."""
    client = socket.create_connection(listening.getsockname())
    assert select.select([listening], [], [], 30)[0]
    return client


def test_accepting_whom_there_is(listening: socket.socket) -> None:
    assert sockets.accept(listening) is None
    with connect(listening) as client:
        accepted = sockets.accept(listening)
        assert accepted is not None
        number, address = accepted
        assert address == client.getsockname()
        assert not os.get_blocking(number)
        assert not os.get_inheritable(number)
        os.close(number)
        assert sockets.accept(listening) is None


class Gone:
    """A listening socket whose first connections are gone by the time."""

    def __init__(self, listening: socket.socket, *errors: int) -> None:
        self.listening = listening
        self.errors = list(errors)

    def fileno(self) -> int:
        return self.listening.fileno()

    def _accept(self) -> Any:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return self.listening._accept()  # type: ignore[attr-defined]


@pure
def test_connections_that_are_gone_are_skipped(listening: socket.socket) -> None:
    gone: Any = Gone(listening, errno.ECONNABORTED, errno.EPROTO, errno.EHOSTUNREACH, errno.EPERM)
    with connect(listening):
        accepted = sockets.accept(gone)
        assert accepted is not None and gone.errors == []
        os.close(accepted[0])
    gone.errors = [errno.ECONNABORTED, errno.EMFILE]
    with connect(listening):
        with pytest.raises(OSError, match="Too many open files") as caught:
            sockets.accept(gone)
        assert caught.value.errno in sockets.exhausted


@pure
def test_an_accepted_descriptor_is_closed_if_a_signal_handler_raises(listening: socket.socket) -> None:
    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_return" and argument is os.set_blocking and frame.f_code.co_name == "accept":
            sys.setprofile(None)
            raise KeyboardInterrupt

    with connect(listening):
        before = open_descriptors()
        sys.setprofile(profile)
        try:
            with pytest.raises(KeyboardInterrupt):
                sockets.accept(listening)
        finally:
            sys.setprofile(None)
        assert open_descriptors() == before


@pytest.fixture(params=[False, True], ids=["not blocking", "blocking"])
def pipe(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    for number in (reading, writing):
        os.set_blocking(number, request.param)
    yield reading, writing
    for number in (reading, writing):
        os.close(number)


@pytest.mark.parametrize("device", [False, True])
def test_a_pipe_that_has_nothing_and_one_that_has_no_room(pipe: tuple[int, int], device: bool) -> None:
    """``device`` is how a file is read that refuses RWF_NOWAIT."""
    reading, writing = pipe
    assert pipes.read(reading, device) is None
    size = 0
    while (count := pipes.write(writing, device, bytes(4096))) > 0:
        size += count
    assert count == -1
    assert pipes.write_many(writing, device, [bytes(10), bytes(10)]) == -1
    assert pipes.unread(reading) == size
    while data := pipes.read(reading, device):
        size -= len(data)
    assert (data, size) == (None, 0)
    assert pipes.write_many(writing, device, [b"ab", b"c"]) in (2, 3)


class OfATool(socket.socket):
    """What a tool puts in the place of ``socket.socket``."""


def test_sockets_are_of_the_class_that_a_tool_has_put_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with connection_socket.new_socket(socket.AF_INET, socket.SOCK_STREAM) as plain:
        assert type(plain) is connection_socket.ConnectionSocket
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(socket, "socket", OfATool)
    with theirs, connection_socket.new_socket(socket.AF_INET, socket.SOCK_DGRAM, 0) as new:
        assert type(new) is OfATool
        assert (new.family, new.type) == (socket.AF_INET, socket.SOCK_DGRAM)
        with connection_socket.new_socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, ours.detach()) as given:
            assert type(given) is OfATool
            given.send(b"x")
            assert theirs.recv(10) == b"x"
