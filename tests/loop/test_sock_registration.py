"""How long a socket stays in the epoll set for sock_* calls: as long as one waits, and a few turns more."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel_truth import EDGE, IN, OUT, epoll_set, measured, needs_strace, system_calls
from recording import Run
from sockets import Pair, tcp_pair, unix_pair

from benchmarks import scenarios

pytestmark = pytest.mark.fair_weather  # a read is to bring a whole message


@pytest.fixture(params=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    ours, theirs = unix_pair() if request.param == "unix" else tcp_pair()
    if request.param == "tcp":
        for sock in (ours, theirs):  # lest the kernel take megabytes at once
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    with ours, theirs:
        yield ours, theirs


@pytest.mark.edgeloop_only
@needs_strace
@measured
def test_a_request_costs_one_recv_and_one_send(tmp_path: Path) -> None:
    """No epoll_ctl, and no recv that finds nothing: the short read of the last turn has said so."""
    script = Path(scenarios.__file__).read_text()
    calls = system_calls(script, "sock", "300", directory=tmp_path)
    calls.subtract(system_calls(script, "sock", "100", directory=tmp_path))
    assert calls["epoll_ctl"] <= 2
    assert calls["sendto"] == 400
    assert 400 <= calls["recvfrom"] + calls["recvmsg"] <= 402  # recvmsg(2) says why a read on a Unix socket was short


def test_data_that_comes_with_the_end(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    """Rule 2: the end may be in the edge that the data came with, and no other follows."""
    ours, theirs = pair

    async def main() -> list[bytes]:
        loop.call_later(0.01, theirs.send, b"last words")
        loop.call_later(0.01, theirs.shutdown, socket.SHUT_WR)
        return [await loop.sock_recv(ours, 100), await loop.sock_recv(ours, 100), await loop.sock_recv(ours, 100)]

    assert run(main()) == [b"last words", b"", b""]


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_data_in_pieces_of_any_size(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair, size: int) -> None:
    """Whether a read was short or not, what is left or comes later is found."""
    ours, theirs = pair

    async def main() -> bytes:
        received = b""
        for number in range(50):
            loop.call_later(0.001, theirs.send, b"%04d" % number)
            while len(received) < 4 * (number + 1):
                received += await loop.sock_recv(ours, size)
        return received

    assert run(main()) == b"".join(b"%04d" % number for number in range(50))


def test_what_comes_between_two_calls_is_not_missed(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> list[bytes]:
        loop.call_later(0.005, theirs.send, b"one")
        received = [await loop.sock_recv(ours, 100)]
        theirs.send(b"two")  # in the turn of the short read
        received.append(await loop.sock_recv(ours, 100))
        for turns in range(6):
            theirs.send(b"%d" % turns)
            for _ in range(turns):
                await asyncio.sleep(0)
            received.append(await loop.sock_recv(ours, 100))
        return received

    assert run(main()) == [b"one", b"two", b"0", b"1", b"2", b"3", b"4", b"5"]


def test_both_directions_at_once(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    """A send that waits for room and a receive that waits for data share the registration."""
    ours, theirs = pair
    data = os.urandom(3_000_000)

    async def main() -> tuple[bytes, bytes]:
        sending = asyncio.create_task(loop.sock_sendall(ours, data))
        receiving = asyncio.create_task(loop.sock_recv(ours, 100))
        await asyncio.sleep(0.01)
        assert not sending.done()
        await loop.sock_sendall(theirs, b"meanwhile")
        answer = await receiving
        received = bytearray()
        while len(received) < len(data):
            received += await loop.sock_recv(theirs, 100_000)
        await sending
        return answer, bytes(received)

    assert run(main()) == (b"meanwhile", data)


def test_many_requests_over_a_full_socket(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    """Room that is waited for again and again, while the other direction is read."""
    ours, theirs = pair
    message = os.urandom(700_000)

    async def answer() -> None:
        received = 0
        while received < 5 * len(message):
            data = await loop.sock_recv(theirs, 65536)
            received += len(data)
            await loop.sock_sendall(theirs, data)

    async def main() -> list[bool]:
        server = asyncio.create_task(answer())
        same = []
        for _ in range(5):
            sending = asyncio.create_task(loop.sock_sendall(ours, message))
            received = bytearray()
            while len(received) < len(message):
                received += await loop.sock_recv(ours, 65536)
            await sending
            same.append(received == message)
        await server
        return same

    assert run(main(), 60) == [True] * 5


@pytest.mark.edgeloop_only
def test_it_is_registered_while_it_is_waited_for_and_no_longer(
    loop: asyncio.AbstractEventLoop, run: Run, pair: Pair
) -> None:
    ours, theirs = pair

    async def main() -> None:
        receiving = asyncio.create_task(loop.sock_recv(ours, 100))
        await asyncio.sleep(0)
        assert epoll_set(loop)[ours.fileno()] & (IN | OUT | EDGE) == IN | EDGE
        theirs.send(b"data")
        assert await receiving == b"data"
        for _ in range(3):
            await asyncio.sleep(0)
        assert ours.fileno() not in epoll_set(loop)
        cancelled = asyncio.create_task(loop.sock_recv(ours, 100))
        await asyncio.sleep(0.001)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        for _ in range(3):
            await asyncio.sleep(0)
        assert ours.fileno() not in epoll_set(loop)
        loop.call_later(0.001, theirs.send, b"more")
        assert await loop.sock_recv(ours, 100) == b"more"

    run(main())
    assert ours.fileno() not in epoll_set(loop)


@pytest.mark.parametrize(
    "close", [lambda sock: sock.close(), lambda sock: os.close(sock.detach())], ids=["close", "detach"]
)
def test_another_socket_gets_the_number(
    loop: asyncio.AbstractEventLoop, run: Run, close: Callable[[socket.socket], None]
) -> None:
    """Closed in the turn in which it was read: the next one with its number has nothing of it."""

    async def main() -> list[bytes]:
        received = []
        for number in range(20):
            ours, theirs = socket.socketpair()
            with theirs:
                ours.setblocking(False)
                loop.call_later(0.001, theirs.send, b"%d" % number)
                received.append(await loop.sock_recv(ours, 100))
                close(ours)
        return received

    assert run(main()) == [b"%d" % number for number in range(20)]


def test_a_copy_keeps_the_file_open(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """The kernel tells of a file for as long as any copy of its descriptor is open; a copy's owner is not disturbed."""

    async def main() -> bytes:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            loop.call_later(0.001, theirs.send, b"first")
            await loop.sock_recv(ours, 100)
            with socket.socket(fileno=os.dup(ours.fileno())) as copy:
                copy.setblocking(False)
                ours.close()
                loop.call_later(0.001, theirs.send, b"second")
                return await loop.sock_recv(copy, 100)

    assert run(main()) == b"second"


def test_a_reader_after_a_call_and_a_call_after_a_reader(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> list[bytes]:
        received = []
        for number in range(5):
            loop.call_later(0.001, theirs.send, b"call %d" % number)
            received.append(await loop.sock_recv(ours, 100))
            readable = loop.create_future()
            loop.add_reader(ours, lambda future=readable: future.done() or future.set_result(None))  # type: ignore[misc]
            theirs.send(b"reader %d" % number)
            await readable
            assert loop.remove_reader(ours)
            assert not loop.remove_reader(ours)
            received.append(ours.recv(100))
        return received

    assert run(main()) == [b"%b %d" % (what, number) for number in range(5) for what in (b"call", b"reader")]


def test_a_transport_after_a_call(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    """A handshake by sock_*, and then the rest through streams: what a proxy's client does."""
    ours, theirs = pair

    async def main() -> bytes:
        loop.call_later(0.001, theirs.send, b"hello")
        assert await loop.sock_recv(ours, 5) == b"hello"
        reader, writer = await asyncio.open_connection(sock=ours)
        theirs.send(b"the rest\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line

    assert run(main()) == b"the rest\n"


async def test_connect_again_after_a_refusal(loop: asyncio.AbstractEventLoop) -> None:
    """News of the first attempt is no answer to the second."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(sock, address)
        with pytest.raises(ConnectionAbortedError):  # the kernel's way to say that the failure is over
            await loop.sock_connect(sock, address)
        with socket.create_server(address):
            await loop.sock_connect(sock, address)
            assert sock.getpeername() == address


def test_two_programs_take_turns_with_one_socket(loop: asyncio.AbstractEventLoop, run: Run, pair: Pair) -> None:
    """Between two calls the socket is somebody else's to read."""
    ours, theirs = pair

    async def main() -> list[bytes]:
        received = []
        for _ in range(5):
            loop.call_later(0.001, theirs.send, b"loop")
            received.append(await loop.sock_recv(ours, 100))
            theirs.send(b"direct")
            await asyncio.sleep(0)
            received.append(ours.recv(100))
        return received

    assert run(main()) == [b"loop", b"direct"] * 5
