"""A loop that was made before a fork, and did not run then, serves in the child; the parent's is not touched (rule 11)."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from children import forked
from kernel_truth import epoll_set
from recording import Recorder, Run
from sockets import listening_socket


@pytest.fixture(autouse=True)
def threads_are_expected() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads
        yield


def test_the_child_wakes_up_though_its_eventfd_has_the_number_of_a_closed_socket(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """A call waits for room while its socket is closed. The child's eventfd, which gets that number, stays registered."""
    below, above = socket.socketpair()
    holes = [os.open(os.devnull, os.O_RDONLY)]
    while holes[-1] < above.fileno():
        holes.append(os.open(os.devnull, os.O_RDONLY))
    above.setblocking(False)
    sending = loop.create_task(loop.sock_sendall(above, bytes(1 << 24)))
    loop.run_until_complete(asyncio.sleep(0))
    below.close()
    above.close()

    def child() -> None:
        def call() -> None:
            time.sleep(0.1)  # the loop sleeps by then; if it doesn't, the fault isn't seen
            loop.call_soon_threadsafe(loop.stop)

        thread = threading.Thread(target=call)
        thread.start()
        loop.run_forever()
        thread.join()

    forked(child)
    sending.cancel()
    for hole in holes:
        os.close(hole)


@pytest.mark.edgeloop_only  # another loop's set reports by level
def test_a_child_that_only_runs_its_loop_takes_no_event_from_its_parent(loop: asyncio.AbstractEventLoop) -> None:
    """Who waits for a set first takes the edge. In another thread no handler of signals is added before."""

    def child() -> None:
        thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.sleep(0.001)))
        thread.start()
        thread.join()

    with listening_socket(socket.AF_UNIX) as listening:
        transport, protocol = loop.run_until_complete(loop.create_unix_connection(Recorder, listening.getsockname()))
        theirs, _ = listening.accept()
    transport.pause_reading()
    loop.run_until_complete(asyncio.sleep(0.001))
    with theirs:
        theirs.send(b"for the parent")
        forked(child)
        transport.resume_reading()
        loop.run_until_complete(protocol.bytes_in(14))
        assert protocol.received == b"for the parent"
        transport.abort()
        loop.run_until_complete(protocol.lost())


@pytest.mark.edgeloop_only  # asks the kernel for edgeloop's set
def test_a_connection_that_ended_as_it_began_leaves_nothing_in_the_childs_set(loop: asyncio.AbstractEventLoop) -> None:
    """The parent has the file too, so that close(2) takes nothing out."""
    numbers: list[int] = []

    class Ends(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            numbers.append(transport.get_extra_info("socket").fileno())
            transport.abort()
            raise KeyboardInterrupt  # before the turn has ended, which would forget what is kept

    async def connect() -> None:
        loop.call_soon(theirs.send, b".")
        await loop.sock_recv(ours, 1)  # what waited stays registered for a few turns, for the next call
        await loop.create_connection(Ends, sock=ours)

    def child() -> None:
        loop.run_until_complete(asyncio.sleep(0.001))
        assert numbers[0] not in epoll_set(loop)

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        connecting = loop.create_task(connect())
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert numbers[0] in epoll_set(loop)
        forked(child)
        loop.run_until_complete(connecting)
        loop.run_until_complete(asyncio.sleep(0.001))


def test_a_loop_that_has_run_runs_in_the_child(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> int:
        heard = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(heard.set_result, 7))
        thread.start()
        await asyncio.sleep(0.001)
        thread.join()
        return await heard  # type: ignore[no-any-return]

    assert run(main()) == 7

    def child() -> None:
        assert run(main()) == 7
        assert run(main()) == 7
        loop.close()

    forked(child)
    assert run(main()) == 7


@pytest.mark.edgeloop_only  # asyncio's child shares the set, and takes the parent's registrations away
def test_readers_and_writers_are_registered_again(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    ours, theirs = socket.socketpair()

    with ours, theirs:
        received: list[bytes] = []
        loop.add_reader(ours, lambda: received.append(ours.recv(100)))

        def child() -> None:
            theirs.send(b"child")
            run(asyncio.sleep(0.01))
            assert received == [b"child"]
            assert loop.remove_reader(ours)
            loop.close()

        forked(child)
        theirs.send(b"parent")
        run(asyncio.sleep(0.01))
        assert received == [b"parent"]
        assert loop.remove_reader(ours)


def test_a_server_made_before_serves_in_the_child(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    server = run(asyncio.start_server(echo, "127.0.0.1", 0))

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        answer = await reader.read()
        writer.close()
        return answer

    def child() -> None:
        assert run(ask()) == b"hello"

    forked(child)
    assert run(ask()) == b"hello"
    server.close()
    run(asyncio.sleep(0))


def test_a_connection_made_before_goes_on_in_the_child(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, protocol = run(loop.create_connection(Recorder, sock=ours))

        def child() -> None:
            theirs.send(b"to the child")
            assert run(protocol.bytes_in(12)) == b"to the child"
            transport.write(b"from the child")
            run(asyncio.sleep(0.001))

        forked(child)
        assert theirs.recv(100) == b"from the child"
        theirs.send(b"to the parent")
        assert run(protocol.bytes_in(13)) == b"to the parent"
        transport.abort()
        run(protocol.lost())


@pytest.mark.edgeloop_only  # asyncio's child shares the set, and takes the parent's registrations away
def test_the_parents_set_is_not_touched(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.add_reader(ours, int)
        run(asyncio.sleep(0))
        before = epoll_set(loop)

        def child() -> None:
            loop.remove_reader(ours)
            loop.add_reader(theirs, int)
            loop.add_writer(ours, int)
            run(asyncio.sleep(0.001))
            loop.call_soon_threadsafe(int)
            loop.close()

        forked(child)
        assert epoll_set(loop) == before
        loop.remove_reader(ours)


@pytest.mark.edgeloop_only  # asyncio's self-pipe is shared too
def test_the_parent_is_not_woken(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        child = os.fork()  # of a running loop
        if not child:
            loop.call_soon_threadsafe(int)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    run(main())
    forked(lambda: loop.call_soon_threadsafe(int))  # of one that does not run
    turns: list[None] = []

    async def count() -> None:
        def turn() -> None:
            turns.append(None)
            loop.call_later(0.02, turn)

        turn()
        await asyncio.sleep(0.03)

    run(count())
    assert len(turns) == 2


@pytest.mark.edgeloop_only  # asyncio shares it with the parent
def test_a_running_loop_is_refused_for_good(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    ours, theirs = socket.socketpair()

    class Leaving(SystemExit):
        pass

    statuses: list[int] = []

    def fork() -> None:
        # No task: from Python 3.14 on a task's step in the child finds that no loop runs there.
        if not os.fork():
            with pytest.raises(RuntimeError, match="forked"):
                loop.add_reader(ours, int)
            raise Leaving
        statuses.append(os.wait()[1])
        loop.stop()

    with ours, theirs:
        loop.call_soon(fork)
        try:
            loop.run_forever()
        except Leaving:
            status = 1
            try:
                with pytest.raises(RuntimeError, match="forked"):
                    loop.run_until_complete(asyncio.sleep(0.001))
                loop.close()
                status = 0
            finally:
                os._exit(status)
        assert statuses == [0]
        run(asyncio.sleep(0.001))


@pytest.mark.edgeloop_only  # asyncio's child writes to the parent's wake-up pipe
def test_a_signal_of_the_child_is_not_the_parents(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    came: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, came.append, os.getpid())

    async def main() -> list[int]:
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0.01)
        return came

    run(asyncio.sleep(0))

    def child() -> None:
        assert len(run(main())) == 1

    forked(child)
    run(asyncio.sleep(0.01))
    assert came == []
    assert len(run(main())) == 1
    loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.edgeloop_only  # asyncio looks names up in its default executor, whose threads don't come along
def test_a_daemon(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """Forked twice, with names looked up before and after, in threads that don't come along."""
    run(loop.getaddrinfo("localhost", 80))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()

        async def greet() -> None:
            _, writer = await asyncio.open_connection("localhost", address[1], family=socket.AF_INET)
            writer.write(b"from the daemon")
            writer.close()
            await writer.wait_closed()

        def child() -> None:
            os.setsid()
            if not os.fork():
                try:
                    signal.alarm(30)
                    listener.close()
                    run(greet())
                finally:
                    os._exit(0)

        forked(child)
        conn, _ = listener.accept()
        with conn:
            received = b""
            while part := conn.recv(100):
                received += part
        assert received == b"from the daemon"


def _work(loop: Any, sending: Any) -> None:
    sending.send(loop.run_until_complete(asyncio.sleep(0.001, "worked")))


def test_a_process_of_multiprocessing(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    run(asyncio.sleep(0))
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    with receiving, sending:
        process = context.Process(target=_work, args=(loop, sending))
        process.start()
        assert receiving.poll(30)
        assert receiving.recv() == "worked"
        process.join()
        process.close()


@pytest.mark.edgeloop_only  # asyncio's child shares the set
@pytest.mark.parametrize("how", ["add_reader", "remove_writer"])
def test_what_is_changed_first_in_the_child_is_changed_there_alone(
    loop: asyncio.AbstractEventLoop, run: Run, how: str
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        received: list[bytes] = []

        def read(mark: bytes) -> None:
            received.append(mark + ours.recv(100))

        loop.add_reader(ours, read, b"of the parent: ")
        loop.add_writer(ours, int)
        before = epoll_set(loop)

        def child() -> None:
            if how == "add_reader":
                loop.add_reader(ours, read, b"of the child: ")
            else:
                loop.remove_writer(ours)
            theirs.send(b"data")
            run(asyncio.sleep(0.01))
            assert received == [b"of the child: data" if how == "add_reader" else b"of the parent: data"]
            loop.close()

        forked(child)
        assert epoll_set(loop) == before
        loop.remove_reader(ours)
        loop.remove_writer(ours)


@pytest.mark.edgeloop_only  # asyncio's child reads its parent's wake-ups
def test_the_child_wakes_up_though_its_eventfd_has_a_higher_number_than_all_that_is_registered(
    loop: asyncio.AbstractEventLoop, run: Run
) -> None:
    run(asyncio.sleep(0))

    def child() -> None:
        for _ in range(300):
            os.open(os.devnull, os.O_RDONLY)
        # Not in the main thread, where the loop would register a pipe of its own for signals.
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        for _ in range(3):
            woken = threading.Event()
            loop.call_soon_threadsafe(woken.set)
            assert woken.wait(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    forked(child)
