"""A transport that was given a socket never uses the number after its owner has closed or detached the object (rule 9)."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from recording import Recorder
from sockets import listening_socket


def gone_by_close(sock: socket.socket) -> int:
    number = sock.fileno()
    sock.close()
    return number


def gone_by_detach(sock: socket.socket) -> int:
    number = sock.detach()
    os.close(number)
    return number


GONE = pytest.mark.parametrize("go", [gone_by_close, gone_by_detach], ids=["close", "detach"])
Go = Callable[[socket.socket], int]


def stranger(number: int) -> tuple[socket.socket, socket.socket]:
    """A pair whose first has the number that has come free."""
    pair = socket.socketpair()
    assert pair[0].fileno() == number
    return pair


async def attached(sock: socket.socket) -> tuple[Any, Recorder]:
    transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(Recorder, sock)
    return transport, protocol


@GONE
async def test_a_stranger_gets_nothing_that_is_written(go: Go) -> None:
    ours, theirs = socket.socketpair()
    transport, protocol = await attached(ours)
    c, d = stranger(go(ours))
    with theirs, c, d:
        transport.write(b"secret")
        assert isinstance(await protocol.lost(), OSError)
        await asyncio.sleep(0.01)
        d.setblocking(False)
        with pytest.raises(BlockingIOError):
            d.recv(100)
        assert protocol.calls.count("connection_lost") == 1
        c.send(b"still open")
        assert d.recv(100) == b"still open"


@GONE
@pytest.mark.parametrize("end", ["made", "accepted"])
async def test_nor_does_one_that_gets_the_number_of_a_connection_of_the_loop(go: Go, end: str) -> None:
    """The loop has opened the socket, and the program closes what it got from get_extra_info."""
    loop = asyncio.get_running_loop()
    accepted = Recorder()
    with listening_socket(socket.AF_UNIX) as listening:
        server = await loop.create_unix_server(lambda: accepted, sock=listening)
        _, made = await loop.create_unix_connection(Recorder, listening.getsockname())
        await accepted.until(lambda: accepted.calls == ["connection_made"])
        protocol = made if end == "made" else accepted
        ours = protocol.transport.get_extra_info("socket")._sock  # asyncio's, too, has it under this name
        c, d = socket.socketpair()
        with c, d:
            number = os.dup2(c.fileno(), go(ours))
            protocol.transport.write(b"secret")
            assert isinstance(await protocol.lost(), OSError)
            d.setblocking(False)
            with pytest.raises(BlockingIOError):
                d.recv(100)
            d.send(b"for the stranger")
            assert os.read(number, 100) == b"for the stranger"
            os.close(number)
        server.close()


@GONE
@pytest.mark.parametrize(
    "end",
    [
        "close",
        "abort",
        pytest.param(
            "write_eof", marks=pytest.mark.edgeloop_only
        ),  # there asyncio's raises what is told to connection_lost here
    ],
)
async def test_ending_leaves_the_stranger_alone(go: Go, end: str) -> None:
    ours, theirs = socket.socketpair()
    transport, protocol = await attached(ours)
    c, d = stranger(go(ours))
    with theirs, c, d:
        getattr(transport, end)()
        await protocol.lost()
        await asyncio.sleep(0)
        c.send(b"still open")
        assert d.recv(100) == b"still open"


@GONE
@pytest.mark.edgeloop_only  # asyncio's first transport takes the second's registration away
async def test_the_stranger_has_a_registration_of_its_own(go: Go) -> None:
    ours, theirs = socket.socketpair()
    transport, protocol = await attached(ours)
    c, d = stranger(go(ours))
    with theirs, d:
        other, other_protocol = await attached(c)
        d.send(b"one")
        await other_protocol.until(lambda: other_protocol.received == b"one")
        transport.abort()
        await protocol.lost()
        await asyncio.sleep(0)
        d.send(b"two")
        await other_protocol.until(lambda: other_protocol.received == b"onetwo")
        assert protocol.received == b""
        other.abort()


async def test_what_comes_on_a_detached_socket_is_not_ours() -> None:
    ours, theirs = socket.socketpair()
    _, protocol = await attached(ours)
    number = ours.detach()
    with theirs, socket.socket(fileno=number) as owner:
        theirs.send(b"for the owner")
        await asyncio.sleep(0.01)
        assert protocol.received == b""
        assert owner.recv(100) == b"for the owner"
        assert isinstance(await protocol.lost(), OSError)


async def test_a_connection_that_is_over_has_a_closed_socket() -> None:
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Any] = loop.create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(transport)

    server = await loop.create_server(Server, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with socket.create_connection(address) as client:
        transport = await made
        transport.abort()
        await asyncio.sleep(0.01)
        sock = transport.get_extra_info("socket")
        assert sock.fileno() == -1
        assert sock.family == socket.AF_INET
        assert transport.get_extra_info("sockname") == address
        assert transport.get_extra_info("peername") == client.getsockname()
    server.close()


@GONE
@pytest.mark.edgeloop_only  # asyncio waits for ever: no event comes when there is space
async def test_close_ends_a_connection_whose_socket_went_while_it_was_full(go: Go) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, protocol = await attached(ours)
        transport.write(bytes(5_000_000))
        assert transport.get_write_buffer_size()
        go(ours)
        transport.close()
        error = await protocol.lost()
        assert isinstance(error, OSError)
        assert error.errno == errno.EBADF
        assert protocol.calls.count("connection_lost") == 1
