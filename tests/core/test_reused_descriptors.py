"""A descriptor's number after its owner has closed it, or put another file there: nobody else's bytes, and nothing hangs."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import pytest
from recording import Recorder, Run, record_errors
from sockets import unix_pair


@pytest.fixture
def big_file() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        file.write(b"S" * (32 << 20))
        file.flush()
        yield file


def drain(sock: socket.socket) -> int:
    try:
        return len(sock.recv(1 << 20))
    except BlockingIOError:
        return 0


# sendfile(2)


@pytest.mark.edgeloop_only  # asyncio's hangs for good where the kernel has dropped the registration
async def test_a_file_goes_to_no_other_connection(loop: asyncio.AbstractEventLoop, big_file: IO[bytes]) -> None:
    ours, theirs = unix_pair()
    sending = asyncio.ensure_future(loop.sock_sendfile(ours, big_file, fallback=False))
    received = 0
    while received < 1 << 20:
        await asyncio.sleep(0)
        received += drain(theirs)
    number = ours.fileno()
    ours.close()
    stranger, peer = unix_pair()
    with theirs, stranger, peer:
        assert number in (stranger.fileno(), peer.fileno())
        for _ in range(50):
            await asyncio.sleep(0)
            drain(theirs)
        assert drain(stranger) == drain(peer) == 0
        sending.cancel()
        await asyncio.wait([sending])


@pytest.mark.edgeloop_only  # asyncio goes on with whatever has the number
@pytest.mark.parametrize("how", ["sock_sendfile", "sendfile"])
def test_no_other_file_is_sent(loop: asyncio.AbstractEventLoop, run: Run, how: str) -> None:
    async def main() -> set[int]:
        file = tempfile.TemporaryFile()
        file.write(b"S" * (32 << 20))
        file.flush()
        ours, theirs = unix_pair()
        transport: Any = None
        if how == "sendfile":
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            sending = asyncio.ensure_future(loop.sendfile(transport, file, fallback=False))
        else:
            sending = asyncio.ensure_future(loop.sock_sendfile(ours, file, fallback=False))
        await asyncio.sleep(0.01)
        number = file.fileno()
        file.close()
        with tempfile.TemporaryFile() as other, ours, theirs:
            assert other.fileno() == number
            other.write(b"x" * (32 << 20))
            other.flush()
            seen: set[int] = set()
            while not sending.done():
                try:
                    seen.update(theirs.recv(1 << 20))
                except BlockingIOError:
                    await asyncio.sleep(0)
            with pytest.raises(ValueError, match="closed file"):
                await sending
            assert other.tell() == 32 << 20  # nor is its position moved
            if transport is not None:
                transport.abort()
                await asyncio.sleep(0)
            return seen

    assert run(main()) == {ord("S")}


# A transport that is closing and has not sent all


@pytest.mark.parametrize("call", ["reader", "writer", "recv", "forgotten reader"])
def test_what_a_closing_transport_has_left_is_sent_all_the_same(
    loop: asyncio.AbstractEventLoop, run: Run, call: str
) -> None:
    async def main() -> tuple[int, list[str]]:
        ours, theirs = unix_pair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        transport.write(b"x" * (4 << 20))
        transport.close()
        fd = ours.fileno()
        waiting: asyncio.Future[Any] | None = None
        if call == "writer":
            if loop.__module__.startswith("asyncio"):
                pytest.skip("there the writer takes the transport's place")
            loop.add_writer(fd, int)
            assert loop.remove_writer(fd)
            assert not loop.remove_writer(fd)
        elif call == "recv":
            waiting = asyncio.ensure_future(loop.sock_recv(ours, 100))
        else:
            loop.add_reader(fd, int)
            loop.add_reader(fd, int)
            if call == "reader":
                assert loop.remove_reader(fd)
                assert not loop.remove_reader(fd)
        received = 0
        with theirs:
            while received < 4 << 20:
                await asyncio.sleep(0)
                received += drain(theirs)
            await protocol.lost()
            if waiting is not None:
                waiting.cancel()
                await asyncio.wait([waiting])
            assert await loop.sock_recv(theirs, 1) == b""  # nothing keeps the connection open
        return received, protocol.calls[-1:]

    assert run(main()) == (4 << 20, ["connection_lost"])


def test_a_reader_beside_a_closing_transport_is_called(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> bytes:
        ours, theirs = unix_pair()
        with theirs:
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            transport.write(b"x" * (4 << 20))
            transport.close()
            called = loop.create_future()
            loop.add_reader(ours, called.cancel)
            theirs.send(b"unread")
            with pytest.raises(asyncio.CancelledError):
                await called
            loop.remove_reader(ours)
            data = ours.recv(100)
            transport.abort()
            await protocol.lost()
            return data

    assert run(main()) == b"unread"


# dup2(2) between two calls, on a registration that is kept


async def received_after_dup2(loop: asyncio.AbstractEventLoop, late: bool) -> list[bytes]:
    first, first_peer = unix_pair()
    second, second_peer = unix_pair()
    with first, first_peer, second, second_peer:
        loop.call_later(0.001, first_peer.send, b"one")
        received = [await loop.sock_recv(first, 100)]
        os.dup2(second.fileno(), first.fileno())
        if late:
            loop.call_later(0.05, second_peer.send, b"two")
        else:
            second_peer.send(b"two")
        received.append(await asyncio.wait_for(loop.sock_recv(first, 100), 5))
        return received


@pytest.mark.parametrize("late", [False, True], ids=["there already", "comes later"])
def test_a_file_that_took_a_socket_s_number_is_read(loop: asyncio.AbstractEventLoop, run: Run, late: bool) -> None:
    assert run(received_after_dup2(loop, late)) == [b"one", b"two"]


def test_so_it_is_while_others_keep_the_loop_busy(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def busy() -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> list[bytes]:
        task = asyncio.create_task(busy())
        received = await received_after_dup2(loop, True)
        task.cancel()
        return received

    assert run(main()) == [b"one", b"two"]


def test_a_file_that_took_a_socket_s_number_is_written_to(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def fill(ours: socket.socket, theirs: socket.socket, data: bytes) -> int:
        sending = asyncio.ensure_future(loop.sock_sendall(ours, data))
        received = 0
        while received < len(data):
            await asyncio.sleep(0)
            received += drain(theirs)
        await asyncio.wait_for(sending, 5)
        return received

    async def main() -> list[int]:
        first, first_peer = unix_pair()
        second, second_peer = unix_pair()
        with first, first_peer, second, second_peer:
            sizes = [await fill(first, first_peer, b"x" * (2 << 20))]
            os.dup2(second.fileno(), first.fileno())
            sizes.append(await fill(first, second_peer, b"y" * (2 << 20)))
            return sizes

    assert run(main()) == [2 << 20, 2 << 20]


@pytest.mark.parametrize("next_use", ["reader", "transport"])
def test_a_file_that_took_a_socket_s_number_is_watched(
    loop: asyncio.AbstractEventLoop, run: Run, next_use: str
) -> None:
    async def main() -> bytes:
        first, first_peer = unix_pair()
        second, second_peer = unix_pair()
        with first, first_peer, second, second_peer:
            loop.call_later(0.001, first_peer.send, b"one")
            await loop.sock_recv(first, 100)
            os.dup2(second.fileno(), first.fileno())
            second_peer.send(b"two")
            if next_use == "reader":
                called = loop.create_future()
                loop.add_reader(first, called.cancel)
                await asyncio.wait([called], timeout=5)
                assert called.done()
                loop.remove_reader(first)
                return first.recv(100)
            transport, protocol = await loop.create_connection(Recorder, sock=first)
            data = await asyncio.wait_for(protocol.bytes_in(3), 5)
            transport.abort()
            await protocol.lost()
            return data

    assert run(main()) == b"two"


@pytest.mark.edgeloop_only  # asyncio's epoll_ctl fails with ENOENT
def test_a_call_whose_socket_was_closed_ends_when_its_number_is_used_again(
    loop: asyncio.AbstractEventLoop, run: Run
) -> None:
    async def main() -> bytes:
        first, first_peer = unix_pair()
        waiting = asyncio.ensure_future(loop.sock_recv(first, 100))
        await asyncio.sleep(0.001)
        number = first.fileno()
        first.close()
        second, second_peer = unix_pair()
        if second.fileno() != number:
            second, second_peer = second_peer, second
        with first_peer, second, second_peer:
            loop.call_later(0.01, second_peer.send, b"second")
            data = await asyncio.wait_for(loop.sock_recv(second, 100), 5)
            with pytest.raises(OSError, match="Bad file descriptor"):
                await asyncio.wait_for(waiting, 5)
            return data

    assert run(main()) == b"second"


@pytest.mark.edgeloop_only  # asyncio's epoll_ctl fails with ENOENT, or never sees the new socket
@pytest.mark.parametrize("next_use", ["reader", "recv"])
def test_callbacks_of_a_socket_that_was_closed_are_not_called_for_the_next_with_its_number(
    loop: asyncio.AbstractEventLoop, run: Run, next_use: str
) -> None:
    async def main() -> tuple[bytes, list[str]]:
        called: list[str] = []
        first, first_peer = unix_pair()
        loop.add_reader(first, called.append, "reader")
        number = first.fileno()
        first.close()
        second, second_peer = unix_pair()
        if second.fileno() != number:
            second, second_peer = second_peer, second
        with first_peer, second, second_peer:
            loop.add_writer(second, int)
            loop.remove_writer(second)
            second_peer.send(b"second")
            await asyncio.sleep(0.001)
            if next_use == "recv":
                return await asyncio.wait_for(loop.sock_recv(second, 100), 5), called
            arrived = loop.create_future()
            loop.add_reader(second, arrived.cancel)
            await asyncio.wait([arrived], timeout=5)
            loop.remove_reader(second)
            return second.recv(100), called

    assert run(main()) == (b"second", [])


# Listening sockets


@pytest.mark.edgeloop_only  # asyncio's server and its sockets are other objects inside
def test_a_listening_socket_closed_under_its_server_breaks_no_stranger(
    loop: asyncio.AbstractEventLoop, run: Run
) -> None:
    record_errors(loop)

    async def main() -> bytes:
        listening = socket.create_server(("127.0.0.1", 0))
        server = await loop.create_server(asyncio.Protocol, sock=listening)
        number = listening.fileno()
        listening.close()
        ours, theirs = unix_pair()
        if ours.fileno() != number:
            ours, theirs = theirs, ours
        assert ours.fileno() == number
        with theirs:
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            await asyncio.sleep(0)
            server.close()
            theirs.send(b"still there")
            data = await asyncio.wait_for(protocol.bytes_in(11), 5)
            transport.abort()
            await protocol.lost()
            return data

    assert run(main()) == b"still there"


class Unnameable:
    """isinstance() fails on it, in the middle of the transport's making."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise self.error("not now")

    error: type[BaseException] = RuntimeError


class Interrupting(Unnameable):
    error = KeyboardInterrupt


@pytest.mark.edgeloop_only  # asyncio's half-made transport can't print itself
@pytest.mark.parametrize("protocol", [Unnameable, Interrupting])
def test_a_descriptor_is_closed_once_when_its_transport_fails_to_be_made(
    loop: asyncio.AbstractEventLoop, run: Run, monkeypatch: pytest.MonkeyPatch, protocol: Any
) -> None:
    """Whatever is opened as soon as the number is free stays open."""
    errors = record_errors(loop)
    opened: list[int] = []

    async def serve() -> Any:
        return await loop.create_server(factory, "127.0.0.1", 0)

    def factory() -> Any:
        return protocol()

    server = run(serve())
    with socket.create_connection(server.sockets[0].getsockname()) as client:

        async def wait() -> None:
            client.setblocking(False)
            assert await loop.sock_recv(client, 1) == b""

        try:
            run(wait())
        except KeyboardInterrupt:
            opened.append(os.open(os.devnull, os.O_RDONLY))
            run(wait())
    assert all(os.fstat(fd) for fd in opened)
    for fd in opened:
        os.close(fd)
    assert [error["message"] for error in errors] == (
        ["Error on transport creation for incoming connection"] if protocol is Unnameable else []
    )
    server.close()


@pytest.mark.edgeloop_only  # asyncio has both under one number
def test_a_loop_that_closes_leaves_no_descriptor_of_a_reader_beside_a_closing_transport(
    loop: asyncio.AbstractEventLoop, run: Run
) -> None:
    """The fixture that counts descriptors would tell."""

    async def main() -> Any:
        transport, _ = await loop.create_connection(Recorder, sock=ours)
        transport.write(b"x" * (4 << 20))
        transport.close()
        loop.add_reader(ours, int)
        return transport

    ours, theirs = unix_pair()
    with theirs:
        transport = run(main())
        loop.close()
        ours.close()
        del transport
