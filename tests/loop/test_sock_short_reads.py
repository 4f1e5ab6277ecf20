"""Rule 2 for sock_recv and sock_recv_into: a short read leaves nothing only where nothing else can have cut it short."""

from __future__ import annotations

import array
import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from recording import Run
from sockets import send_from_another_process, tcp_pair

Receive = Callable[[socket.socket], Coroutine[Any, Any, bytes]]


async def recv(sock: socket.socket) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 100), 5)


async def recv_into(sock: socket.socket) -> bytes:
    buffer = bytearray(100)
    count = await asyncio.wait_for(asyncio.get_running_loop().sock_recv_into(sock, buffer), 5)
    return bytes(buffer[:count])


both_calls = pytest.mark.parametrize("receive", [recv, recv_into])


async def read_after_waiting(ours: socket.socket, send: Callable[[], object], receive: Receive, total: int) -> bytes:
    """``send`` while a call waits, on a registration that is kept from the calls before; all that is there then."""
    received = b""
    for _ in range(3):  # a registration that has been kept is the one that infers
        asyncio.get_running_loop().call_later(0.001, send)
        got = b""
        while len(got) < total:
            got += await receive(ours)
        received += got
    return received


@both_calls
@pytest.mark.parametrize("inline", [False, True], ids=["apart", "inline"])
async def test_what_follows_urgent_data_is_received(receive: Receive, inline: bool) -> None:
    ours, theirs = tcp_pair()
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)

    def send() -> None:
        theirs.send(b"before")
        theirs.send(b"!", socket.MSG_OOB)
        theirs.send(b"after")

    with ours, theirs:
        expected = b"before!after" if inline else b"beforeafter"
        assert await read_after_waiting(ours, send, receive, len(expected)) == 3 * expected


@both_calls
async def test_what_follows_a_message_with_descriptors_is_received(receive: Receive) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]

    def send() -> None:
        theirs.sendmsg([b"with"], rights)
        theirs.send(b"without")
        theirs.sendmsg([b"again"], rights)
        theirs.send(b"end")

    with ours, theirs:
        assert await read_after_waiting(ours, send, receive, 19) == 3 * b"withwithoutagainend"


@both_calls
def test_what_another_writer_sent_is_received(run: Run, receive: Receive) -> None:
    """SO_PASSCRED: a read ends where the sender's credentials change."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def send() -> None:
        theirs.send(b"parent")
        send_from_another_process(theirs, b"child")
        theirs.send(b"parent")

    with ours, theirs:
        assert run(read_after_waiting(ours, send, receive, 17)) == 3 * b"parentchildparent"


@both_calls
def test_what_follows_urgent_data_on_a_unix_socket_is_received(run: Run, receive: Receive) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        try:
            theirs.send(b"?", socket.MSG_OOB)
        except OSError:
            pytest.skip("this kernel has no urgent data on Unix sockets (before Linux 5.15)")
        ours.recv(1, socket.MSG_OOB)

        def send() -> None:
            theirs.send(b"before")
            theirs.send(b"!", socket.MSG_OOB)
            theirs.send(b"after")

        async def main() -> bytes:
            received = b""
            for _ in range(3):
                asyncio.get_running_loop().call_later(0.001, send)
                got = b""
                while not got.endswith(b"after"):
                    got += await receive(ours)
                received += got.replace(b"!", b"")  # whether it is in line depends on the kernel's version
            return received

        assert run(main()) == 3 * b"beforeafter"


async def test_a_short_message_does_not_hide_the_next() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)

    def send() -> None:
        for message in (b"one", b"two", b"three"):
            theirs.send(message)

    with ours, theirs:
        assert await read_after_waiting(ours, send, recv, 11) == 3 * b"onetwothree"


async def test_a_socket_with_a_recv_of_its_own_is_asked_by_it(loop: asyncio.AbstractEventLoop) -> None:
    class Shouting(socket.socket):
        def recv(self, *arguments: Any) -> bytes:
            return super().recv(*arguments).upper()

    first, theirs = socket.socketpair()
    with Shouting(fileno=first.detach()) as ours, theirs:
        ours.setblocking(False)
        assert await read_after_waiting(ours, lambda: theirs.send(b"loud"), recv, 4) == 3 * b"LOUD"
