"""The sock_* coroutines on stream sockets: receive and send, and what every one of them refuses."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from recording import Recorder, Run, connected, receive, reset
from sockets import Pair, tcp_pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = tcp_pair()
    with ours, theirs:
        yield ours, theirs


async def test_recv_of_what_is_there(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    pair[1].send(b"hello")
    assert await loop.sock_recv(pair[0], 100) == b"hello"


def test_recv_waits(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    async def main() -> bytes:
        task = asyncio.ensure_future(loop.sock_recv(pair[0], 100))
        await asyncio.sleep(0)
        assert not task.done()
        pair[1].send(b"hello")
        return await task

    assert run(main()) == b"hello"


def test_recv_takes_no_more_than_asked(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    async def main() -> list[bytes]:
        pair[1].send(b"0123456789")
        return [await loop.sock_recv(pair[0], count) for count in (1, 4, 100)]

    assert run(main()) == [b"0", b"1234", b"56789"]


async def test_recv_at_the_end(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    task = asyncio.ensure_future(loop.sock_recv(pair[0], 100))
    await asyncio.sleep(0)
    pair[1].shutdown(socket.SHUT_WR)
    assert await task == b""
    assert await loop.sock_recv(pair[0], 100) == b""


async def test_recv_after_a_reset(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    task = asyncio.ensure_future(loop.sock_recv(pair[0], 100))
    await asyncio.sleep(0)
    reset(pair[1])
    with pytest.raises(ConnectionResetError):
        await task


async def test_recv_into(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    buffer = bytearray(4)
    pair[1].send(b"012345")
    assert await loop.sock_recv_into(pair[0], buffer) == 4
    assert buffer == b"0123"
    assert await loop.sock_recv_into(pair[0], memoryview(buffer)[2:]) == 2
    assert buffer == b"0145"
    task = asyncio.ensure_future(loop.sock_recv_into(pair[0], buffer))
    await asyncio.sleep(0)
    assert not task.done()
    pair[1].send(b"xy")
    assert await task == 2
    assert buffer == b"xy45"


def test_sendall_of_20_mb(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    data = os.urandom(1 << 20) * 20

    async def main() -> str:
        sending = asyncio.ensure_future(loop.sock_sendall(pair[0], data))
        digest = hashlib.sha256()
        left = len(data)
        while left:
            part = await loop.sock_recv(pair[1], 300_000)
            assert part
            digest.update(part)
            left -= len(part)
        await sending
        return digest.hexdigest()

    assert run(main()) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sendall_types(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair, kind: Callable[[bytes], Any]) -> None:
    async def main() -> bytes:
        assert await loop.sock_sendall(pair[0], kind(b"data")) is None  # type: ignore[func-returns-value]
        assert await loop.sock_sendall(pair[0], kind(b"")) is None  # type: ignore[func-returns-value]
        return await loop.sock_recv(pair[1], 100)

    assert run(main()) == b"data"


async def test_sendall_of_text_is_refused(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    text: Any = "text"
    with pytest.raises(TypeError, match=r"a bytes-like object is required, not '?str"):
        await loop.sock_sendall(pair[0], text)


async def test_sendall_to_a_peer_that_goes(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    sending = asyncio.ensure_future(loop.sock_sendall(pair[0], bytes(20 << 20)))
    await asyncio.sleep(0)
    reset(pair[1])
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await sending


async def test_both_directions_at_once(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    """A reader and a writer wait on each of the two descriptors."""
    data = bytes(3_000_000)

    ours, theirs = pair
    results = await asyncio.gather(
        loop.sock_sendall(ours, data),
        loop.sock_sendall(theirs, data),
        receive(ours, len(data)),
        receive(theirs, len(data)),
    )
    assert [len(part or b"") for part in results] == [0, 0, len(data), len(data)]


Operation = Callable[[asyncio.AbstractEventLoop, socket.socket], Coroutine[Any, Any, Any]]
WAITING: dict[str, Operation] = {
    "recv": lambda loop, sock: loop.sock_recv(sock, 10),
    "recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(10)),
    "recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 10),
    "recvfrom_into": lambda loop, sock: loop.sock_recvfrom_into(sock, bytearray(10)),
    "sendall": lambda loop, sock: loop.sock_sendall(sock, bytes(20 << 20)),
}


@pytest.mark.parametrize("operation", WAITING.values(), ids=WAITING)
async def test_cancelled(loop: asyncio.AbstractEventLoop, pair: Pair, operation: Operation) -> None:
    """A cancelled operation leaves the descriptor free, and takes nothing of what arrives later."""
    task = asyncio.ensure_future(operation(loop, pair[0]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert loop.remove_reader(pair[0]) is False
    assert loop.remove_writer(pair[0]) is False
    pair[1].send(b"later")
    assert await loop.sock_recv(pair[0], 10) == b"later"


async def test_cancelled_after_the_data_came(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    task = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
    await asyncio.sleep(0)
    pair[1].send(b"data")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await loop.sock_recv(pair[0], 10) == b"data"


async def test_a_timeout_then_again(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    for _ in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(pair[0], 10), 0.002)
    pair[1].send(b"data")
    assert await asyncio.wait_for(loop.sock_recv(pair[0], 10), 30) == b"data"


async def test_a_second_reader_takes_over_from_the_first(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    """The later call replaces the earlier one's reader; cancelling the earlier must not disturb it."""
    first = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    pair[1].send(b"data")
    assert await second == b"data"


BLOCKING: dict[str, Operation] = {
    **WAITING,
    "sendto": lambda loop, sock: loop.sock_sendto(sock, b"x", ("127.0.0.1", 9)),
    "connect": lambda loop, sock: loop.sock_connect(sock, ("127.0.0.1", 9)),
    "accept": lambda loop, sock: loop.sock_accept(sock),
}


@pytest.mark.parametrize("operation", BLOCKING.values(), ids=BLOCKING)
def test_a_blocking_socket_is_refused_in_debug_mode(
    loop: asyncio.AbstractEventLoop, run: Run, operation: Operation
) -> None:
    loop.set_debug(True)
    with (
        socket.socket() as sock,
        pytest.raises(ValueError, match=r"^the socket must be non-blocking$"),
    ):
        run(operation(loop, sock))


@pytest.mark.parametrize("operation", BLOCKING.values(), ids=BLOCKING)
async def test_a_tls_socket_is_refused(loop: asyncio.AbstractEventLoop, operation: Operation) -> None:
    context = ssl.create_default_context()
    with (
        context.wrap_socket(socket.socket(), server_hostname="localhost", do_handshake_on_connect=False) as sock,
        pytest.raises(TypeError, match=r"^Socket cannot be of type SSLSocket$"),
    ):
        await operation(loop, sock)


@pytest.mark.parametrize("operation", BLOCKING.values(), ids=BLOCKING)
async def test_a_closed_socket(loop: asyncio.AbstractEventLoop, operation: Operation) -> None:
    sock = socket.socket()
    sock.setblocking(False)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await operation(loop, sock)


@pytest.mark.parametrize("name", ["recv", "recv_into", "recvfrom", "sendall"])
async def test_a_transports_socket_is_refused(loop: asyncio.AbstractEventLoop, name: str) -> None:
    async with connected(Recorder) as (transport, _, _):
        fd = transport.get_extra_info("socket").fileno()
        duplicate = socket.socket(fileno=fd)
        duplicate.setblocking(False)  # PyPy has set the file to block
        try:
            with pytest.raises(RuntimeError, match=rf"^File descriptor {fd} is used by transport <"):
                await WAITING[name](loop, duplicate)
        finally:
            duplicate.detach()
