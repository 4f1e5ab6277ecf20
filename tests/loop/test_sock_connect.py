"""The sock_* coroutines that make connections: connect and accept."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import socket
import weakref
from pathlib import Path
from typing import Any

import pytest
from recording import Run, receive, receive_all, reset


@pytest.fixture
def listener(listener: socket.socket) -> socket.socket:
    listener.setblocking(False)
    return listener


async def test_connect(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        assert await loop.sock_connect(sock, listener.getsockname()) is None  # type: ignore[func-returns-value]
        assert sock.getpeername() == listener.getsockname()


async def test_connect_by_name(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("localhost", listener.getsockname()[1]))
        assert sock.getpeername() == listener.getsockname()


async def test_connect_ipv6(loop: asyncio.AbstractEventLoop) -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
        socket.socket(socket.AF_INET6) as sock,
    ):
        sock.setblocking(False)
        await loop.sock_connect(sock, ("::1", listener.getsockname()[1]))
        assert sock.getpeername() == listener.getsockname()


@pytest.mark.parametrize("abstract", [False, True])
async def test_connect_unix(loop: asyncio.AbstractEventLoop, tmp_path: Path, abstract: bool) -> None:
    address: Any = f"\0edgeloop-{os.getpid()}" if abstract else str(tmp_path / "socket")

    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
        listener.bind(address)
        listener.listen()
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        connection, _ = listener.accept()
        with connection:
            await loop.sock_sendall(sock, b"unix")
            assert connection.recv(10) == b"unix"


async def test_connect_refused(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    address = listener.getsockname()
    listener.close()

    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(ConnectionRefusedError) as raised:
            await loop.sock_connect(sock, address)
        assert raised.value.errno == errno.ECONNREFUSED
        assert str(address) in str(raised.value)


@pytest.mark.counts_references
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


async def test_connect_to_a_missing_unix_socket(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        with pytest.raises(FileNotFoundError):
            await loop.sock_connect(sock, str(tmp_path / "missing"))


@pytest.mark.parametrize("address", ["127.0.0.1", ("127.0.0.1",), None, 1], ids=repr)
async def test_connect_to_a_wrong_address(loop: asyncio.AbstractEventLoop, address: Any) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises((TypeError, ValueError, OSError)):
            await loop.sock_connect(sock, address)


async def test_connect_cancelled(loop: asyncio.AbstractEventLoop) -> None:
    """A connection that stays pending: the listener's backlog is full."""
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


async def test_accept(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    accepting = asyncio.ensure_future(loop.sock_accept(listener))
    await asyncio.sleep(0)
    assert not accepting.done()
    with socket.create_connection(listener.getsockname()) as client:
        connection, address = await accepting
        with connection:
            assert address == client.getsockname()
            assert connection.gettimeout() == 0
            assert not os.get_inheritable(connection.fileno())


async def test_accept_what_waits_already(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
    accepted = [await loop.sock_accept(listener) for _ in clients]
    assert {address for _, address in accepted} == {client.getsockname() for client in clients}
    for sock in [*clients, *(connection for connection, _ in accepted)]:
        sock.close()


async def test_accept_cancelled(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    accepting = asyncio.ensure_future(loop.sock_accept(listener))
    await asyncio.sleep(0)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    with socket.create_connection(listener.getsockname()):
        connection, _ = await loop.sock_accept(listener)
        connection.close()


async def test_echo_server_and_client(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    async def serve() -> None:
        connection, _ = await loop.sock_accept(listener)
        with connection:
            while data := await loop.sock_recv(connection, 4096):
                await loop.sock_sendall(connection, data)

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
