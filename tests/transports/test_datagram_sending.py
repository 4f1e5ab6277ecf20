"""When datagrams leave: before sendto() returns, or gathered with others within the bounds of rule 5."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from datagram_endpoints import LOCAL, DatagramRecorder, endpoint, name_of, plain_socket, receive

pytestmark = pytest.mark.fair_weather  # what the kernel does not take at once leaves later

Loop = asyncio.AbstractEventLoop


def queued(sock: socket.socket) -> list[bytes]:
    """What the kernel has for a socket of the test's own, now."""
    found = []
    try:
        while True:
            found.append(sock.recv(70000))
    except BlockingIOError:
        return found


async def test_the_first_ones_of_a_callback_leave_before_sendto_returns() -> None:
    with plain_socket() as peer:
        async with endpoint() as (transport, _):
            for _ in range(3):
                for data in (b"one", b"two", b"three"):
                    transport.sendto(data, peer.getsockname())
                    assert queued(peer) == [data]
                await asyncio.sleep(0)


@pytest.mark.edgeloop_only  # asyncio delivers one a turn
async def test_answers_leave_before_the_turn_ends() -> None:
    """Those to datagrams that arrived together are gathered, until the last that this turn delivers."""
    seen: list[tuple[list[bytes], list[bytes]]] = []

    class Answering(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            if not self.datagrams:
                self.loop.call_soon(lambda: seen.append((queued(peer), self.data)))
            super().datagram_received(data, addr)
            self.endpoint.sendto(data, addr)

    with plain_socket() as peer:
        async with endpoint(Answering) as (transport, protocol):
            for number in range(10):
                peer.sendto(b"%d" % number, name_of(transport))
            await protocol.arrived(10)
        answers, delivered = seen[0]
        assert answers == delivered


@pytest.mark.parametrize("ask", ["is_closing", "get_write_buffer_size", "get_extra_info"])
async def test_what_asks_lets_go_of_what_is_gathered(ask: str) -> None:
    seen: list[list[bytes]] = []

    class Answering(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.endpoint.sendto(data, addr)
            transport: Any = self.endpoint
            if ask == "get_extra_info":
                transport.get_extra_info("socket")
            else:
                getattr(transport, ask)()
            seen.append(queued(peer))

    with plain_socket() as peer:
        async with endpoint(Answering) as (transport, protocol):
            for data in (b"one", b"two", b"three"):
                peer.sendto(data, name_of(transport))
            await protocol.arrived(3)
        assert seen == [[b"one"], [b"two"], [b"three"]]


async def test_an_answer_is_late_once_and_never_again() -> None:
    """A protocol that goes on computing after it has answered has its answers sent at once from then on."""
    late: list[int] = []

    class Computing(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.endpoint.sendto(data, addr)
            time.sleep(0.002)
            if queued(peer) != [data]:
                late.append(len(self.datagrams))
                queued(peer)

    with plain_socket() as peer:
        async with endpoint(Computing) as (transport, protocol):
            for batch in range(4):
                for number in range(5):
                    peer.sendto(b"%d" % number, name_of(transport))
                await protocol.arrived(5 * (batch + 1))
        queued(peer)
        assert len(late) <= 2, "the first, and the second may find it in the queue"


async def test_many_of_a_turn_are_all_sent_and_in_order() -> None:
    with plain_socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        async with endpoint() as (transport, _):
            expected = []
            for turn in range(5):
                for number in range(100):
                    data = b"%d %d" % (turn, number)
                    transport.sendto(data, peer.getsockname())
                    expected.append(data)
                assert await receive(peer, 100) == expected[-100:]
            transport.sendto(b"last", peer.getsockname())
            transport.close()
            assert await receive(peer, 1) == [b"last"]


async def test_another_thread_sends_at_once() -> None:
    with plain_socket() as peer:
        async with endpoint() as (transport, _):
            for _ in range(100):
                transport.sendto(b"warm", peer.getsockname())
            thread = threading.Thread(target=lambda: transport.sendto(b"thread", peer.getsockname()))
            thread.start()
            thread.join()
            assert queued(peer)[-1] == b"thread"


def test_without_a_running_loop_it_is_sent_at_once(loop: Loop) -> None:
    transport, protocol = loop.run_until_complete(loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL))
    with plain_socket() as peer:
        for _ in range(200):
            transport.sendto(b"x", peer.getsockname())
            assert queued(peer) == [b"x"]
    transport.close()
    loop.run_until_complete(protocol.lost())
    loop.run_until_complete(asyncio.sleep(0))


ENDS = {
    "os._exit": "os._exit(0)",
    "execv": "os.execv('/bin/true', ['true'])",
    "SystemExit": "raise SystemExit(0)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "abort": "self.transport.abort()\nself.loop.call_soon(self.loop.stop)",
    "close": "self.transport.close()\nself.loop.call_soon(self.loop.stop)",
    "stop": "self.loop.stop()",
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_the_program_nothing_is_lost(end: str, loop_factory: Callable[[], Loop]) -> None:
    """After a few sent from a callback; the loop is closed afterwards, where it can be."""
    script = """
        import asyncio, os, socket, sys
        factory = {factory}

        class Protocol(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport
                self.loop = asyncio.get_running_loop()
                self.loop.call_later(0.01, self.talk)
            def talk(self):
                for number in range(5):
                    self.transport.sendto(b"%d" % number, ("127.0.0.1", {port}))
                {end}

        loop = factory()
        try:
            loop.run_until_complete(loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0)))
            loop.run_forever()
        except BaseException:
            pass
        loop.close()
        os._exit(0)
    """
    ours = "asyncio.SelectorEventLoop"
    if loop_factory is not asyncio.SelectorEventLoop:
        ours = "__import__('edgeloop').new_event_loop"
    with plain_socket() as peer:
        ending = ENDS[end].replace("\n", "\n" + " " * 16)
        program = script.replace("{factory}", ours).replace("{port}", str(peer.getsockname()[1]))
        program = textwrap.dedent(program.replace("{end}", ending))
        subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=20, check=True)
        assert queued(peer) == [b"0", b"1", b"2", b"3", b"4"]


BUFFERS: dict[str, Any] = {
    "large items": memoryview(array.array("I", [1, 2, 3])),
    "two dimensions": memoryview(bytes(range(12))).cast("B", (3, 4)),
    "every second": memoryview(bytes(range(12)))[::2],
    "backwards": memoryview(bytes(range(12)))[::-1],
    "a bytearray": bytearray(b"some bytes"),
    "of another type": type("Named", (bytes,), {"__bytes__": lambda self: b"else", "__len__": lambda self: 3})(b"data"),
}


@pytest.mark.edgeloop_only  # asyncio refuses some of these, and counts others by their items
@pytest.mark.parametrize("name", BUFFERS)
async def test_bytes_are_what_counts(name: str) -> None:
    data = BUFFERS[name]
    expected = memoryview(data).tobytes()

    with plain_socket() as peer:
        async with endpoint() as (transport, _):
            transport.sendto(data, peer.getsockname())
            assert await receive(peer, 1) == [expected]
    read, write = os.pipe()
    piped, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, open(write, "wb", 0))
    piped.write(data)
    assert os.read(read, 100) == expected
    piped.write(b"x" * 1_000_000)
    waiting = piped.get_write_buffer_size()
    piped.write(data)
    assert piped.get_write_buffer_size() == waiting + len(expected)
    piped.abort()
    await asyncio.sleep(0.01)
    os.close(read)
