"""The twelve rules of edge triggering (docs/edges.md): for each a test that fails when the rule is broken."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from kernel_truth import EDGE, IN, OUT, RDHUP, epoll_set

pytestmark = pytest.mark.edgeloop_only

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Recorder(asyncio.Protocol):
    """Keeps what it was told, in order."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.events: list[str] = []
        self.data = bytearray()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.events.append("data")
        self.data += data

    def eof_received(self) -> bool | None:
        self.events.append("eof")
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)


class AnyTransport(asyncio.Protocol):
    """Passes on to a Recorder what a pipe's transport tells, which is no asyncio.Transport."""

    def __init__(self, recorder: Recorder) -> None:
        self.eof_received = recorder.eof_received  # type: ignore[method-assign]
        self.connection_lost = recorder.connection_lost  # type: ignore[method-assign]


class Sips(asyncio.BufferedProtocol):
    """Reads through a buffer of 1 KiB and notes each reading under its name."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.buffer = bytearray(1024)
        self.count = 0

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.log.append(self.name)
        self.count += nbytes


async def attach(sock: socket.socket, protocol: Any) -> Any:
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
    return transport


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


# Rule 1: register once, edge-triggered; MOD for changes, DEL before close.


def test_1_one_registration_with_epollet(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            transport = await attach(ours, Recorder())
            fd = ours.fileno()
            assert epoll_set(loop)[fd] & (IN | OUT | RDHUP | EDGE) == IN | RDHUP | EDGE
            assert all(mask & EDGE for mask in epoll_set(loop).values())
            for _ in range(3):
                transport.pause_reading()
                assert epoll_set(loop)[fd] & IN
                transport.resume_reading()
            transport.close()
            await turns(3)
            assert fd not in epoll_set(loop)

    run(main())


def test_1_deleted_before_close(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """Else the set keeps the file for as long as anybody has a duplicate, and tells of it under a stale number."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fd = ours.fileno()
            duplicate = os.dup(fd)
            try:
                transport = await attach(ours, Recorder())
                assert fd in epoll_set(loop)
                transport.abort()
                await turns(3)
                assert fd not in epoll_set(loop)
            finally:
                os.close(duplicate)

    run(main())


# Rule 2: only EAGAIN, or a short read without RDHUP/HUP/ERR, ends readability.


def test_2_data_and_fin_in_one_edge(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.sendall(b"last words")
        theirs.shutdown(socket.SHUT_WR)
        with theirs:
            protocol = Recorder()
            await attach(ours, protocol)
            assert await protocol.lost is None
            assert protocol.events == ["data", "eof", "lost"]
            assert protocol.data == b"last words"

    run(main())


def test_2_data_and_fin_while_paused(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            protocol = Recorder()
            transport = await attach(ours, protocol)
            transport.pause_reading()
            theirs.sendall(b"last words")
            theirs.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.01)
            assert protocol.events == []
            transport.resume_reading()
            await protocol.lost
            assert protocol.events == ["data", "eof", "lost"]

    run(main())


# Rule 3: one buffer each turn; what is left comes back by the leftover list.


def test_3_a_flood_does_not_starve_the_others(run: Run) -> None:
    async def main() -> None:
        flood, flooding = socket.socketpair()
        quiet, whispering = socket.socketpair()
        with flooding, whispering:
            log: list[str] = []
            loud, soft = Sips("flood", log), Sips("quiet", log)
            for sock, protocol in ((flood, loud), (quiet, soft)):
                transport = await attach(sock, protocol)
                transport.pause_reading()
            flooding.sendall(bytes(100_000))
            whispering.sendall(b"?")
            await asyncio.sleep(0.01)
            for sock_protocol in (loud, soft):
                transports[sock_protocol.name].resume_reading()
            counts = [0]
            while loud.count < 100_000:
                await asyncio.sleep(0)
                counts.append(loud.count)
            assert log.index("quiet") <= 2
            # Callbacks too have their turn after each buffer.
            assert max(after - before for before, after in itertools.pairwise(counts)) <= 1024

    transports: dict[str, Any] = {}
    original = Sips.connection_made

    def connection_made(self: Sips, transport: Any) -> None:
        transports[self.name] = transport

    Sips.connection_made = connection_made  # type: ignore[method-assign, assignment]
    try:
        run(main())
    finally:
        for transport in transports.values():
            transport.abort()
        Sips.connection_made = original  # type: ignore[method-assign]
        run(turns(2))


def test_3_a_full_buffer_is_followed_by_the_rest(run: Run) -> None:
    """Nothing arrives after it, so that no edge will ever tell of the second buffer."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.sendall(bytes(50_000))
        with theirs:
            protocol = Sips("all", [])
            transport = await attach(ours, protocol)
            await until(lambda: protocol.count == 50_000)
            transport.abort()
            await turns(2)

    run(main())


# Rule 4: EPOLLOUT by MOD when a write would block, and no edge lost between the two.


def test_4_epollout_only_when_a_write_would_block(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with theirs:
            transport = await attach(ours, Recorder())
            transport.write(b"small")
            await turns(2)
            assert not epoll_set(loop)[ours.fileno()] & OUT
            data = os.urandom(3_000_000)
            transport.write(data)
            assert transport.get_write_buffer_size() > 0
            assert epoll_set(loop)[ours.fileno()] & (OUT | EDGE) == OUT | EDGE
            received = bytearray()
            while len(received) < 5 + len(data):
                received += await loop.sock_recv(theirs, 100_000)
            assert received[5:] == data
            assert transport.get_write_buffer_size() == 0
            transport.abort()
            await turns(2)

    run(main())


def test_4_blocked_again_and_again(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """The peer empties the pipe completely each time, so that each edge is the only one there will be."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with theirs:
            transport = await attach(ours, Recorder())
            for _ in range(20):
                transport.write(bytes(700_000))
                missing = 700_000
                while missing:
                    try:
                        missing -= len(theirs.recv(1 << 20))
                    except BlockingIOError:
                        await asyncio.sleep(0)
                assert transport.get_write_buffer_size() == 0
            transport.abort()
            await turns(2)

    run(main())


# Rule 5, the writes of one turn leave together: tests/test_system_calls.py.


# Rule 6: accept until EAGAIN.


def test_6_all_that_wait_are_accepted_on_one_edge(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        accepted: list[Recorder] = []

        def factory() -> Recorder:
            accepted.append(Recorder())
            return accepted[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0, backlog=1000)
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(600)]
        await until(lambda: len(accepted) == 600)
        for client in clients:
            client.close()
        for protocol in accepted:
            await protocol.lost
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize("where", ["the factory", "connection_made"])
def test_6_an_exit_while_accepting_leaves_nobody_in_the_backlog(
    loop: asyncio.AbstractEventLoop, run: Run, where: str
) -> None:
    accepted: list[Recorder] = []

    class Exits(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.append(self)
            if where == "connection_made" and len(accepted) == 1:
                raise KeyboardInterrupt(where)

    factories = []

    def factory() -> Recorder:
        factories.append(1)
        if where == "the factory" and len(factories) == 1:
            raise KeyboardInterrupt(where)
        return Exits()

    server: Any = run(loop.create_server(factory, "127.0.0.1", 0))
    clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(5)]
    with pytest.raises(KeyboardInterrupt, match=where):
        loop.run_forever()
    for client in clients:
        client.send(b"?")
    alive = 4 if where == "the factory" else 5
    run(until(lambda: [bytes(protocol.data) for protocol in accepted] == [b"?"] * alive))
    for client in clients:
        client.close()
    for protocol in accepted:
        run(asyncio.wait_for(protocol.lost, 10))
    server.close()
    run(server.wait_closed())


# Rule 7: pause is a flag, and resuming a readable channel needs no edge.


def test_7_what_came_while_paused_is_told_on_resume(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            protocol = Recorder()
            transport = await attach(ours, protocol)
            transport.pause_reading()
            theirs.sendall(b"waiting")
            await asyncio.sleep(0.01)  # the edge has come and gone
            assert protocol.events == []
            transport.resume_reading()
            await until(lambda: bool(protocol.data))
            assert protocol.data == b"waiting"
            transport.abort()
            await protocol.lost

    run(main())


# Rule 8: HUP and ERR make both directions look for themselves.


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN, socket(7): SO_LINGER."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("reading", [True, False], ids=["reading", "blocked in a write, reading paused"])
def test_8_a_reset_is_noticed(loop: asyncio.AbstractEventLoop, run: Run, reading: bool) -> None:
    async def main() -> None:
        made: asyncio.Future[Recorder] = loop.create_future()

        def factory() -> Recorder:
            made.set_result(Recorder())
            return made.result()

        server = await loop.create_server(factory, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        protocol = await made
        await turns(2)
        if not reading:
            protocol.transport.pause_reading()
            protocol.transport.write(bytes(20_000_000))
            assert protocol.transport.get_write_buffer_size() > 0
        reset(client)
        assert isinstance(await protocol.lost, ConnectionError)
        server.close()
        await server.wait_closed()

    run(main())


def test_8_a_hang_up_without_data_is_the_end(run: Run) -> None:
    """poll(2) of a pipe whose writer has gone says POLLHUP alone."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        protocol = Recorder.__new__(Recorder)
        protocol.events, protocol.lost = [], loop.create_future()
        await loop.connect_read_pipe(lambda: AnyTransport(protocol), open(reading, "rb", 0))
        os.close(writing)
        await protocol.lost
        assert protocol.events == ["eof", "lost"]

    run(main())


def test_8_an_error_without_room_ends_a_blocked_write(run: Run) -> None:
    """poll(2) of a full pipe whose reader has gone says POLLERR alone."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        protocol = Recorder.__new__(Recorder)
        protocol.events, protocol.lost = [], loop.create_future()
        transport, _ = await loop.connect_write_pipe(lambda: AnyTransport(protocol), open(writing, "wb", 0))
        transport.write(bytes(1_000_000))
        await asyncio.sleep(0.01)
        assert transport.get_write_buffer_size() > 0
        os.close(reading)
        assert isinstance(await protocol.lost, BrokenPipeError)

    run(main())


# Rule 9: an event of this batch is not for a descriptor that was registered in it.


def test_9_a_reused_descriptor_gets_no_old_event(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        first, first_peer = socket.socketpair()
        second, second_peer = socket.socketpair()
        third, third_peer = socket.socketpair()
        called: list[str] = []
        number = second.fileno()

        class Swap(Recorder):
            def data_received(self, data: bytes) -> None:
                # The second socket's event lies in the same batch, behind this one.
                loop.remove_reader(number)
                os.dup2(third.fileno(), number)
                loop.add_reader(number, called.append, "the new one's callback")
                super().data_received(data)

        protocol = Swap()
        await attach(first, protocol)
        loop.add_reader(number, called.append, "the old one's callback")
        await turns(2)
        first_peer.send(b"x")
        second_peer.send(b"x")
        await until(lambda: bool(protocol.data))
        await turns(3)
        assert called == []
        third_peer.send(b"x")
        await until(lambda: bool(called))
        assert called[0] == "the new one's callback"
        loop.remove_reader(number)
        protocol.transport.abort()
        await protocol.lost
        for sock in (first_peer, second, second_peer, third, third_peer):
            sock.close()

    run(main())


# Rule 10: add_reader and add_writer keep level semantics.


def test_10_a_reader_that_leaves_something_is_called_again(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            taken = bytearray()
            loop.add_reader(ours, lambda: taken.extend(ours.recv(1)))
            assert epoll_set(loop)[ours.fileno()] & (IN | EDGE) == IN | EDGE
            theirs.sendall(b"0123456789")
            await until(lambda: len(taken) == 10)
            assert loop.remove_reader(ours)
            assert ours.fileno() not in epoll_set(loop)

    run(main())


def test_10_a_writer_is_called_for_as_long_as_there_is_room(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            calls: list[int] = []
            loop.add_writer(ours, calls.append, 1)
            await until(lambda: len(calls) >= 5)
            assert loop.remove_writer(ours)

    run(main())


# Rule 11: a forked child shares the set and must not touch it.


def test_11_a_forked_child_leaves_the_parents_registrations_alone(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        watched, watched_peer = socket.socketpair()
        with theirs, watched, watched_peer:
            protocol = Recorder()
            transport = await attach(ours, protocol)
            called: list[int] = []
            loop.add_reader(watched, called.append, 1)
            before = epoll_set(loop)
            child = os.fork()
            if not child:
                status = 1
                try:
                    loop.remove_reader(watched)
                    transport._force_close(None)
                    transport._call_connection_lost(None)
                    with pytest.raises(RuntimeError, match="forked"):
                        loop.add_reader(theirs, print)
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
            assert epoll_set(loop) == before
            theirs.sendall(b"still there?")
            watched_peer.sendall(b"x")
            await until(lambda: bool(protocol.data) and bool(called))
            loop.remove_reader(watched)
            transport.abort()
            await protocol.lost

    run(main())


def test_11_a_forked_child_can_close_the_loop_and_run_its_own(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    import edgeloop

    async def main() -> None:
        return None

    run(main())
    child = os.fork()
    if not child:
        status = 1
        try:
            with pytest.raises(RuntimeError, match="forked"):
                loop.run_forever()
            loop.close()
            assert edgeloop.run(asyncio.sleep(0, 7)) == 7
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    run(asyncio.sleep(0.001))


# Rule 12: timers are never early.


@pytest.mark.parametrize("delay", [0.0, 1e-6, 50e-6, 200e-6, 0.0015, 0.0201])
def test_12_timers_are_never_early(loop: asyncio.AbstractEventLoop, run: Run, delay: float) -> None:
    async def main() -> None:
        for _ in range(30):
            fired: asyncio.Future[float] = loop.create_future()
            due = time.monotonic() + delay
            loop.call_at(due, lambda fired=fired: fired.set_result(time.monotonic()))  # type: ignore[misc]
            assert await fired >= due

    run(main())


# A present from the same rule: the wake-up needs no reading.


def test_each_wake_up_is_an_edge(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        def finish() -> None:
            if not done.done():
                done.set_result(None)

        def call_back() -> None:
            for _ in range(50):
                arrived.clear()
                loop.call_soon_threadsafe(arrived.set)
                answers.append(arrived.wait(5))
                if not answers[-1]:
                    break
            loop.call_soon_threadsafe(finish)

        answers: list[bool] = []
        arrived = threading.Event()
        done = loop.create_future()
        thread = threading.Thread(target=call_back)
        thread.start()
        loop.call_later(8, finish)  # far off: only wake-ups end the waits before
        await done
        thread.join()
        assert answers == [True] * 50

    run(main())


def test_signals_in_another_thread_wake_the_loop(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """The C handler runs in the thread the signal went to; the loop sleeps without a timer and gets no EINTR."""

    async def main() -> None:
        came = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, came.set_result, None)

        def signal_myself() -> None:
            time.sleep(0.05)  # the loop is asleep by then
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

        thread = threading.Thread(target=signal_myself)
        thread.start()
        await came
        thread.join()
        loop.remove_signal_handler(signal.SIGUSR1)

    loop.run_until_complete(main())
