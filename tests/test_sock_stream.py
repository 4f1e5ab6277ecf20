"""The sock_* coroutines on stream sockets: connect, accept, receive, send."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import hashlib
import os
import socket
import ssl
import weakref
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from recording import Recorder, Run, connected, receive, receive_all, reset

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a TCP connection, non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def test_recv_of_what_is_there(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    pair[1].send(b"hello")
    assert run(loop.sock_recv(pair[0], 100)) == b"hello"


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


def test_recv_at_the_end(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(loop.sock_recv(pair[0], 100))
        await asyncio.sleep(0)
        pair[1].shutdown(socket.SHUT_WR)
        assert await task == b""
        assert await loop.sock_recv(pair[0], 100) == b""

    run(main())


def test_recv_after_a_reset(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(loop.sock_recv(pair[0], 100))
        await asyncio.sleep(0)
        reset(pair[1])
        with pytest.raises(ConnectionResetError):
            await task

    run(main())


def test_recv_into(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    async def main() -> None:
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

    run(main())


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


def test_sendall_of_text_is_refused(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    text: Any = "text"
    with pytest.raises(TypeError, match="a bytes-like object is required, not 'str'"):
        run(loop.sock_sendall(pair[0], text))


def test_sendall_to_a_peer_that_goes(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    async def main() -> None:
        sending = asyncio.ensure_future(loop.sock_sendall(pair[0], bytes(20 << 20)))
        await asyncio.sleep(0)
        reset(pair[1])
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await sending

    run(main())


def test_both_directions_at_once(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    """A reader and a writer wait on each of the two descriptors."""
    data = bytes(3_000_000)

    async def main() -> None:
        ours, theirs = pair
        results = await asyncio.gather(
            loop.sock_sendall(ours, data),
            loop.sock_sendall(theirs, data),
            receive(ours, len(data)),
            receive(theirs, len(data)),
        )
        assert [len(part or b"") for part in results] == [0, 0, len(data), len(data)]

    run(main())


Operation = Callable[[asyncio.AbstractEventLoop, socket.socket], Coroutine[Any, Any, Any]]
WAITING: dict[str, Operation] = {
    "recv": lambda loop, sock: loop.sock_recv(sock, 10),
    "recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(10)),
    "recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 10),
    "recvfrom_into": lambda loop, sock: loop.sock_recvfrom_into(sock, bytearray(10)),
    "sendall": lambda loop, sock: loop.sock_sendall(sock, bytes(20 << 20)),
}


@pytest.mark.parametrize("operation", WAITING.values(), ids=WAITING)
def test_cancelled(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair, operation: Operation) -> None:
    """A cancelled operation leaves the descriptor free, and takes nothing of what arrives later."""

    async def main() -> None:
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

    run(main())


def test_cancelled_after_the_data_came(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
        await asyncio.sleep(0)
        pair[1].send(b"data")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await loop.sock_recv(pair[0], 10) == b"data"

    run(main())


def test_a_timeout_then_again(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    async def main() -> None:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(pair[0], 10), 0.002)
        pair[1].send(b"data")
        assert await asyncio.wait_for(loop.sock_recv(pair[0], 10), 30) == b"data"

    run(main())


def test_a_second_reader_takes_over_from_the_first(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    """The later call replaces the earlier one's reader; cancelling the earlier must not disturb it."""

    async def main() -> None:
        first = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        pair[1].send(b"data")
        assert await second == b"data"

    run(main())


def test_connect(loop: asyncio.AbstractEventLoop, run: Run, listener: socket.socket) -> None:
    async def main() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            assert await loop.sock_connect(sock, listener.getsockname()) is None  # type: ignore[func-returns-value]
            assert sock.getpeername() == listener.getsockname()

    run(main())


def test_connect_by_name(loop: asyncio.AbstractEventLoop, run: Run, listener: socket.socket) -> None:
    async def main() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("localhost", listener.getsockname()[1]))
            assert sock.getpeername() == listener.getsockname()

    run(main())


def test_connect_ipv6(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        with (
            socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
            socket.socket(socket.AF_INET6) as sock,
        ):
            sock.setblocking(False)
            await loop.sock_connect(sock, ("::1", listener.getsockname()[1]))
            assert sock.getpeername() == listener.getsockname()

    run(main())


@pytest.mark.parametrize("abstract", [False, True])
def test_connect_unix(loop: asyncio.AbstractEventLoop, run: Run, tmp_path: Path, abstract: bool) -> None:
    address: Any = f"\0edgeloop-{os.getpid()}" if abstract else str(tmp_path / "socket")

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
            listener.bind(address)
            listener.listen()
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            connection, _ = listener.accept()
            with connection:
                await loop.sock_sendall(sock, b"unix")
                assert connection.recv(10) == b"unix"

    run(main())


def test_connect_refused(loop: asyncio.AbstractEventLoop, run: Run, listener: socket.socket) -> None:
    address = listener.getsockname()
    listener.close()

    async def main() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            with pytest.raises(ConnectionRefusedError) as raised:
                await loop.sock_connect(sock, address)
            assert raised.value.errno == errno.ECONNREFUSED
            assert str(address) in str(raised.value)

    run(main())


@pytest.mark.edgeloop_only
def test_an_error_leaves_no_cycle_behind(loop: asyncio.AbstractEventLoop, run: Run, listener: socket.socket) -> None:
    """What the frames of the exception's traceback hold goes with it, and not when the collector gets to it."""
    address = listener.getsockname()
    listener.close()

    async def refused() -> weakref.ref[socket.socket]:
        with socket.socket() as sock:
            sock.setblocking(False)
            with contextlib.suppress(ConnectionRefusedError):
                await loop.sock_connect(sock, address)
            return weakref.ref(sock)

    async def lost() -> weakref.ref[socket.socket]:
        with (
            socket.create_server(("127.0.0.1", 0)) as listening,
            socket.create_connection(listening.getsockname()) as sock,
        ):
            sock.setblocking(False)
            loop.call_later(0.01, reset, listening.accept()[0])
            with contextlib.suppress(ConnectionResetError):
                await loop.sock_recv(sock, 1)
            return weakref.ref(sock)

    async def main() -> None:
        for failing in (refused, lost):
            sock = await failing()
            await asyncio.sleep(0)  # what woke this task holds the future till then
            assert sock() is None, failing

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_connect_to_a_missing_unix_socket(loop: asyncio.AbstractEventLoop, run: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        with pytest.raises(FileNotFoundError):
            run(loop.sock_connect(sock, str(tmp_path / "missing")))


@pytest.mark.parametrize("address", ["127.0.0.1", ("127.0.0.1",), None, 1], ids=repr)
def test_connect_to_a_wrong_address(loop: asyncio.AbstractEventLoop, run: Run, address: Any) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises((TypeError, ValueError, OSError)):
            run(loop.sock_connect(sock, address))


def test_connect_cancelled(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """A connection that stays pending: the listener's backlog is full."""

    async def main() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            waiting = []
            try:
                for _ in range(10):
                    sock = socket.socket()
                    sock.setblocking(False)
                    waiting.append(sock)
                    task = asyncio.ensure_future(loop.sock_connect(sock, listener.getsockname()))
                    done, _ = await asyncio.wait([task], timeout=0.05)
                    if not done:
                        break
                assert not task.done()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert loop.remove_writer(sock) is False
            finally:
                for sock in waiting:
                    sock.close()

    run(main())


def test_accept(loop: asyncio.AbstractEventLoop, run: Run, listener: socket.socket) -> None:
    async def main() -> None:
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await asyncio.sleep(0)
        assert not accepting.done()
        with socket.create_connection(listener.getsockname()) as client:
            connection, address = await accepting
            with connection:
                assert address == client.getsockname()
                assert connection.gettimeout() == 0
                assert not os.get_inheritable(connection.fileno())

    run(main())


def test_accept_what_waits_already(loop: asyncio.AbstractEventLoop, run: Run, listener: socket.socket) -> None:
    async def main() -> None:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
        accepted = [await loop.sock_accept(listener) for _ in clients]
        assert {address for _, address in accepted} == {client.getsockname() for client in clients}
        for sock in [*clients, *(connection for connection, _ in accepted)]:
            sock.close()

    run(main())


def test_accept_cancelled(loop: asyncio.AbstractEventLoop, run: Run, listener: socket.socket) -> None:
    async def main() -> None:
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await asyncio.sleep(0)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        with socket.create_connection(listener.getsockname()):
            connection, _ = await loop.sock_accept(listener)
            connection.close()

    run(main())


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
def test_a_tls_socket_is_refused(loop: asyncio.AbstractEventLoop, run: Run, operation: Operation) -> None:
    context = ssl.create_default_context()
    with (
        context.wrap_socket(socket.socket(), server_hostname="localhost", do_handshake_on_connect=False) as sock,
        pytest.raises(TypeError, match=r"^Socket cannot be of type SSLSocket$"),
    ):
        run(operation(loop, sock))


@pytest.mark.parametrize("operation", BLOCKING.values(), ids=BLOCKING)
def test_a_closed_socket(loop: asyncio.AbstractEventLoop, run: Run, operation: Operation) -> None:
    sock = socket.socket()
    sock.setblocking(False)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        run(operation(loop, sock))


@pytest.mark.parametrize("name", ["recv", "recv_into", "recvfrom", "sendall"])
def test_a_transports_socket_is_refused(loop: asyncio.AbstractEventLoop, run: Run, name: str) -> None:
    async def main() -> None:
        async with connected(Recorder) as (transport, _, _):
            fd = transport.get_extra_info("socket").fileno()
            duplicate = socket.socket(fileno=fd)
            try:
                with pytest.raises(RuntimeError, match=rf"^File descriptor {fd} is used by transport <"):
                    await WAITING[name](loop, duplicate)
            finally:
                duplicate.detach()

    run(main())


def test_echo_server_and_client(loop: asyncio.AbstractEventLoop, run: Run, listener: socket.socket) -> None:
    async def serve() -> None:
        connection, _ = await loop.sock_accept(listener)
        with connection:
            while data := await loop.sock_recv(connection, 4096):
                await loop.sock_sendall(connection, data)

    async def main() -> None:
        server = asyncio.ensure_future(serve())
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, listener.getsockname())
            for number in range(200):
                message = b"%d" % number * 50
                await loop.sock_sendall(sock, message)
                assert await receive(sock, len(message)) == message
            sock.shutdown(socket.SHUT_WR)
            assert await receive_all(sock) == b""
        await server

    run(main())
