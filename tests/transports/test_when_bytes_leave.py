"""When what was written is at the peer (rule 5). Looked at from the callback that wrote it, and after processes' ends.

A connection that earned it has its writes gathered for a moment: the tests warm theirs up first, and what they ask for holds
then too.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from recording import Recorder
from sockets import listening_socket

pytestmark = pytest.mark.fair_weather  # what the kernel does not take at once leaves later


def arrived(peer: socket.socket) -> bytes:
    """What the kernel has for the peer at this moment."""
    try:
        return peer.recv(65536, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


async def connect(
    loop: asyncio.AbstractEventLoop, protocol: Callable[[], asyncio.BaseProtocol]
) -> tuple[asyncio.Transport, socket.socket]:
    """A connection that the loop has made, and its peer. Only on the loop's own sockets it gathers."""
    with listening_socket(socket.AF_UNIX) as listening:
        transport, _ = await loop.create_unix_connection(protocol, listening.getsockname())
        return transport, listening.accept()[0]


@contextlib.asynccontextmanager
async def warm(rounds: int = 40) -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """A connection whose callbacks have ended right after their writes, again and again; the peer has read all of it."""
    transport, peer = await connect(asyncio.get_running_loop(), Recorder)
    with peer:
        for _ in range(rounds):
            transport.write(b".")
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert arrived(peer) == b"." * rounds
        try:
            yield transport, peer
        finally:
            transport.abort()


@pytest.mark.parametrize("rounds", [0, 1, 3], ids=str)
async def test_the_first_writes_leave_before_write_returns(rounds: int) -> None:
    async with warm(rounds) as (transport, peer):
        for piece in (b"header", b"chunk", b"chunk"):
            transport.write(piece)
            assert arrived(peer) == piece
        transport.writelines([b"a", b"b"])
        assert arrived(peer) == b"ab"


ASKED: dict[str, Callable[[Any], object]] = {
    "is_closing": lambda transport: transport.is_closing(),
    "get_write_buffer_size": lambda transport: transport.get_write_buffer_size(),
    "get_extra_info": lambda transport: transport.get_extra_info("socket"),
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write_eof": lambda transport: transport.write_eof(),
    "set_write_buffer_limits": lambda transport: transport.set_write_buffer_limits(high=0),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
async def test_who_asks_the_transport_finds_it_sent(ask: Callable[[Any], object]) -> None:
    async with warm() as (transport, peer):
        transport.write(b"last words")
        ask(transport)
        assert arrived(peer) == b"last words"


async def test_drain_gives_it_to_the_kernel(streams: Any) -> None:
    with listening_socket(socket.AF_UNIX) as listening:
        _, writer = await streams.open_unix_connection(listening.getsockname())
        peer, _ = listening.accept()
    with peer:
        for _ in range(40):
            writer.write(b".")
            await writer.drain()
            assert arrived(peer) == b"."
            await asyncio.sleep(0)
        writer.close()


@pytest.mark.parametrize("how", ["shutdown", "dup", "fileno", "setsockopt", "close", "detach"])
async def test_what_is_done_to_the_socket_comes_after_what_was_written(how: str) -> None:
    async with warm() as (transport, peer):
        sock = transport.get_extra_info("socket")  # known before the write
        await asyncio.sleep(0)
        transport.write(b"last words")
        if how == "shutdown":
            sock.shutdown(socket.SHUT_WR)
        elif how == "dup":
            sock.dup().close()
        elif how == "fileno":
            os.write(sock.fileno(), b"!")
        elif how == "close":
            sock._sock.close()
        elif how == "detach":
            os.close(sock._sock.detach())
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        assert arrived(peer)[:10] == b"last words"


async def test_another_callback_does_not_hold_it_for_long(loop: asyncio.AbstractEventLoop) -> None:
    """It computes for two milliseconds; what follows in the same turn finds the bytes sent."""
    async with warm() as (transport, peer):
        seen = loop.create_future()
        loop.call_soon(transport.write, b"answer")
        loop.call_soon(time.sleep, 0.002)
        loop.call_soon(lambda: seen.set_result(arrived(peer)))
        assert await seen == b"answer"


async def test_the_loop_does_not_sleep_before_it_has_left(loop: asyncio.AbstractEventLoop) -> None:
    """Nothing else wakes it up: the peer answers in another thread."""
    async with warm() as (transport, peer):
        peer.settimeout(30)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            for _ in range(5):
                question = loop.run_in_executor(pool, peer.recv, 100)
                await asyncio.sleep(0.001)
                transport.write(b"question")
                assert await question == b"question"


@pytest.mark.edgeloop_only  # another loop gathers nothing
async def test_who_was_held_up_by_another_has_the_next_sent_at_once(loop: asyncio.AbstractEventLoop) -> None:
    """Until it has earned gathering again: its bytes would be held up again."""
    async with warm() as (transport, peer):
        came = b"?"

        def hold_up() -> None:
            nonlocal came
            came = arrived(peer)
            time.sleep(0.002)

        for _ in range(5_000):  # whoever was held up by other work must earn it first
            loop.call_soon(transport.write, b"answer")
            loop.call_soon(hold_up)
            await asyncio.sleep(0)
            if came == b"":
                break
        else:
            pytest.fail("nothing was gathered")
        assert arrived(peer) == b"answer"
        transport.write(b"next")
        assert arrived(peer) == b"next"


class Steps(asyncio.BufferedProtocol):
    """Gets a byte in each turn, the first by an event, the others as what was left over. Each takes the next step."""

    def __init__(self, steps: list[Callable[[], object]]) -> None:
        self.buffer = bytearray(1)
        self.steps = steps

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.steps.pop(0)()


@pytest.mark.parametrize("before", [0, 3], ids=["events", "leftovers"])
async def test_another_connection_does_not_hold_it_for_long(loop: asyncio.AbstractEventLoop, before: int) -> None:
    """One writes, the next one computes for two milliseconds, and the third finds the bytes sent: all in one turn."""
    async with warm() as (transport, peer):
        seen = loop.create_future()
        steps: list[Callable[[], object]] = [
            *[lambda: None] * before,
            lambda: transport.write(b"answer"),
            lambda: time.sleep(0.002),
            lambda: seen.set_result(arrived(peer)),
            *[lambda: None] * 3,
        ]
        others = [await connect(loop, lambda: Steps(steps)) for _ in range(3)]
        for _, other in others:
            other.send(b"xx" if before else b"x")
        assert await seen == b"answer"
        for connected, other in others:
            connected.abort()
            other.close()


async def test_who_computed_after_a_write_has_the_next_sent_at_once() -> None:
    """One piece of a token stream may come late, once."""
    async with warm() as (transport, peer):
        transport.write(b"header")
        time.sleep(0.002)
        await asyncio.sleep(0)
        assert arrived(peer) == b"header"
        for _ in range(3):
            transport.write(b"chunk")
            assert arrived(peer) == b"chunk"
            time.sleep(0.002)
            await asyncio.sleep(0)


@pytest.mark.parametrize("several", [False, True], ids=["write", "writelines"])
async def test_the_second_piece_of_a_callback_takes_the_first_along(several: bool) -> None:
    """However long the callback goes on after that, and no later piece waits."""
    async with warm() as (transport, peer):

        def send(piece: bytes) -> None:
            if several:
                transport.writelines([piece])
            else:
                transport.write(piece)

        send(b"header")
        time.sleep(0.002)
        early = arrived(peer)
        send(b"chunk")
        assert early + arrived(peer) == b"headerchunk"
        for _ in range(3):
            time.sleep(0.002)
            send(b"chunk")
            assert arrived(peer) == b"chunk"


async def test_who_was_late_once_is_not_trusted_again_after_a_few_short_answers() -> None:
    """A server that answers questions and sends token streams, in turn, is late with one piece, not with one of each."""
    async with warm() as (transport, peer):
        for late_at_most in (True, False, False):
            transport.write(b"piece")
            assert late_at_most or arrived(peer) == b"piece"
            time.sleep(0.002)
            await asyncio.sleep(0)
            for _ in range(16):
                transport.write(b"short")
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            arrived(peer)


def test_a_write_while_the_loop_does_not_run(loop: asyncio.AbstractEventLoop) -> None:
    transport, peer = loop.run_until_complete(connect(loop, asyncio.Protocol))
    with peer:
        for _ in range(20):
            loop.run_until_complete(write(transport, b"."))
        assert arrived(peer) == b"." * 20
        transport.write(b"QUIT\r\n")
        assert arrived(peer) == b"QUIT\r\n"
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))


async def test_a_write_from_another_thread() -> None:
    """A mistake, but asyncio sends it."""
    async with warm() as (transport, peer):
        await asyncio.to_thread(transport.write, b"from afar")
        assert arrived(peer) == b"from afar"


async def write(transport: Any, data: bytes) -> None:
    transport.write(data)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exception_out_of_the_loop_loses_nothing(
    loop: asyncio.AbstractEventLoop, error: type[BaseException]
) -> None:
    transport, peer = loop.run_until_complete(connect(loop, asyncio.Protocol))

    async def main() -> None:
        for _ in range(40):
            transport.write(b".")
            await asyncio.sleep(0)
        transport.write(b"last words")
        raise error

    with peer:
        with pytest.raises(error):
            loop.run_until_complete(main())
        assert arrived(peer) == b"." * 40 + b"last words"
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))


ENDS: dict[str, Callable[[], object]] = {
    "os._exit": lambda: os._exit(0),
    "execv": lambda: os.execv("/bin/true", ["true"]),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


@pytest.mark.parametrize("rounds", [0, 40], ids=["cold", "warm"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_was_drained_outlives_the_process(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], streams: Any, end: Callable[[], object], rounds: int
) -> None:
    listening = listening_socket(socket.AF_UNIX)

    async def main() -> None:
        _, writer = await streams.open_unix_connection(listening.getsockname())
        for _ in range(rounds):
            writer.write(b".")
            await asyncio.sleep(0)
        writer.write(b"last words")
        await writer.drain()
        end()

    with listening:
        child = os.fork()
        if child == 0:
            try:
                loop_factory().run_until_complete(main())
            finally:
                os._exit(1)
        peer, _ = listening.accept()
    with peer:
        os.waitpid(child, 0)
        assert receive_to_the_end(peer) == b"." * rounds + b"last words"


def receive_to_the_end(peer: socket.socket) -> bytes:
    peer.settimeout(30)
    received = b""
    while data := peer.recv(65536):
        received += data
    return received


async def test_a_fork_neither_loses_nor_doubles_it(loop: asyncio.AbstractEventLoop) -> None:
    async with warm() as (transport, peer):
        transport.write(b"before")
        child = os.fork()
        if child == 0:
            try:
                transport.write(b" child")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        transport.write(b" parent")
        await asyncio.sleep(0)
        assert arrived(peer) == b"before child parent"


@pytest.mark.edgeloop_only  # another loop gathers nothing
async def test_a_warm_connection_does_gather() -> None:
    """Or the tests above would show nothing. Another thread that asks for the size sends none of it."""
    async with warm() as (transport, peer):
        for _ in range(5_000):  # whoever was held up by other work must earn it again
            transport.write(b"header ")
            if arrived(peer) == b"":
                break
            await asyncio.sleep(0)
        else:
            pytest.fail("nothing was gathered")
        sizes: list[int] = []
        thread = threading.Thread(target=lambda: sizes.append(transport.get_write_buffer_size()))
        thread.start()
        thread.join()
        assert (sizes, arrived(peer)) == ([7], b"")
        transport.write(b"body")
        await asyncio.sleep(0)
        assert arrived(peer) == b"header body"


@pytest.mark.edgeloop_only  # another loop gathers nothing
async def test_what_several_callbacks_of_a_turn_write_leaves_together(loop: asyncio.AbstractEventLoop) -> None:
    """One that was not short has those after it send at their ends, for a while. A busy machine makes more such."""
    async with warm() as (transport, peer):
        transport.write(b"one that is not short")
        time.sleep(0.0002)
        await asyncio.sleep(0)
        arrived(peer)
        for _ in range(5_000):
            seen = loop.create_future()
            loop.call_soon(transport.write, b"one ")
            loop.call_soon(transport.write, b"two")
            loop.call_soon(lambda seen=seen: seen.set_result(arrived(peer)))  # type: ignore[misc]
            came = await seen
            assert came + arrived(peer) == b"one two"
            if came == b"":
                break
        else:
            pytest.fail("nothing was gathered")


async def test_the_owner_of_a_given_socket_may_end_it_at_any_moment() -> None:
    ours, peer = socket.socketpair()
    with peer:
        transport, _ = await asyncio.get_running_loop().create_connection(Recorder, sock=ours)
        for _ in range(40):
            transport.write(b".")
            await asyncio.sleep(0)
        transport.write(b"last words")
        ours.shutdown(socket.SHUT_WR)
        assert arrived(peer) == b"." * 40 + b"last words"
        transport.abort()
