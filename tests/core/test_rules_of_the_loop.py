"""Rules 6 and 9 to 12 of edge triggering (docs/edges.md): for each a test that fails when the rule is broken."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from typing import Any

import pytest
from kernel_truth import EDGE, IN, epoll_set
from recording import Recorder, Run, attach, turns, until

pytestmark = pytest.mark.edgeloop_only


# Rule 6: accept until EAGAIN.


async def test_6_all_that_wait_are_accepted_on_one_edge(loop: asyncio.AbstractEventLoop) -> None:
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
        await protocol.lost()
    server.close()
    await server.wait_closed()


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
    run(until(lambda: [bytes(protocol.received) for protocol in accepted] == [b"?"] * alive))
    for client in clients:
        client.close()
    for protocol in accepted:
        run(protocol.lost(), 10)
    server.close()
    run(server.wait_closed())


# Rule 9: an event of this batch is not for a descriptor that was registered in it.


async def test_9_a_reused_descriptor_gets_no_old_event(loop: asyncio.AbstractEventLoop) -> None:
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
    await until(lambda: bool(protocol.received))
    await turns(3)
    assert called == []
    third_peer.send(b"x")
    await until(lambda: bool(called))
    assert called[0] == "the new one's callback"
    loop.remove_reader(number)
    protocol.transport.abort()
    await protocol.lost()
    for sock in (first_peer, second, second_peer, third, third_peer):
        sock.close()


# Rule 10: add_reader and add_writer keep level semantics.


async def test_10_a_reader_that_leaves_something_is_called_again(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        taken = bytearray()
        loop.add_reader(ours, lambda: taken.extend(ours.recv(1)))
        assert epoll_set(loop)[ours.fileno()] & (IN | EDGE) == IN | EDGE
        theirs.sendall(b"0123456789")
        await until(lambda: len(taken) == 10)
        assert loop.remove_reader(ours)
        assert ours.fileno() not in epoll_set(loop)


async def test_10_a_writer_is_called_for_as_long_as_there_is_room(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        calls: list[int] = []
        loop.add_writer(ours, calls.append, 1)
        await until(lambda: len(calls) >= 5)
        assert loop.remove_writer(ours)


# Rule 11: a forked child shares the set and must not touch it.


async def test_11_a_forked_child_leaves_the_parents_registrations_alone(loop: asyncio.AbstractEventLoop) -> None:
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
        await until(lambda: bool(protocol.received) and bool(called))
        loop.remove_reader(watched)
        transport.abort()
        await protocol.lost()


def test_11_a_forked_child_can_close_a_running_loop_s_copy_and_run_its_own(
    loop: asyncio.AbstractEventLoop, run: Run
) -> None:
    import edgeloop

    async def main() -> None:
        child = os.fork()
        if not child:
            status = 1
            try:
                asyncio.events._set_running_loop(None)
                with pytest.raises(RuntimeError, match="already running"):
                    loop.run_forever()
                assert edgeloop.run(asyncio.sleep(0, 7)) == 7
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0

    run(main())
    run(asyncio.sleep(0.001))


# Rule 12: timers are never early.


@pytest.mark.parametrize("delay", [0.0, 1e-6, 50e-6, 200e-6, 0.0015, 0.0201])
async def test_12_timers_are_never_early(loop: asyncio.AbstractEventLoop, delay: float) -> None:
    for _ in range(30):
        fired: asyncio.Future[float] = loop.create_future()
        due = time.monotonic() + delay
        loop.call_at(due, lambda fired=fired: fired.set_result(time.monotonic()))  # type: ignore[misc]
        assert await fired >= due


# A present from the same rule: the wake-up needs no reading.


async def test_each_wake_up_is_an_edge(loop: asyncio.AbstractEventLoop) -> None:
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
