"""A listener out of descriptors: reported, survived, and over as soon as descriptors come free.

Each program runs in a process of its own, because the limit (RLIMIT_NOFILE, setrlimit(2)) holds for a whole process.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from few_descriptors import Clients, body, finish, start

import edgeloop


def test_exhaustion_is_reported_and_the_server_lives(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    child = start(
        loop_factory,
        body(
            """
            await until(lambda: reports)
            print(reports[0]["message"], type(reports[0]["exception"]).__name__, reports[0]["exception"].errno,
                  type(reports[0]["socket"]).__name__, flush=True)
            await until(lambda: len(lost) == len(connections))
            """,
            spare=4,
        ),
    )
    with child:
        assert child.stdout is not None
        clients = Clients(int(child.stdout.readline()), 10)
        try:
            line = child.stdout.readline()
        finally:
            clients.close()
        assert line == "socket.accept() out of system resource OSError 24 TransportSocket\n"
        finish(child)


@pytest.mark.edgeloop_only
def test_waiting_clients_are_let_go_instead_of_hanging(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """The standard loop leaves them in the backlog, connected to nobody, for a second at a time."""
    child = start(
        loop_factory,
        body(
            """
            await asyncio.get_running_loop().run_in_executor(None, input)
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))  # for what is imported now
            import edgeloop
            stats = edgeloop.stats(asyncio.get_running_loop())
            assert stats.accepts_failed >= 1
            print(len(connections), stats.accepts_refused, flush=True)
            await until(lambda: len(lost) == len(connections))
            """,
            spare=20,
        ),
    )
    with child:
        assert child.stdout is not None
        clients = Clients(int(child.stdout.readline()), 60)
        try:
            answers = [clients.answer(index) for index in range(60)]
        finally:
            clients.close()
        assert set(answers) == {b"hello", b""}
        assert [int(number) for number in finish(child).split()] == [answers.count(b"hello"), answers.count(b"")]


@pytest.mark.edgeloop_only
def test_recovery_as_soon_as_descriptors_come_free(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    child = start(
        loop_factory,
        body(
            """
            await asyncio.get_running_loop().run_in_executor(None, input)
            await until(lambda: len(lost) == len(connections))
            """,
            spare=20,
        ),
    )
    with child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        for _ in range(3):
            clients = Clients(port, 40)
            answers = [clients.answer(index) for index in range(40)]
            assert set(answers) == {b"hello", b""}
            clients.close()
            # Descriptors come free as the server notices; a new client must then be served.
            for _ in range(1000):
                clients = Clients(port, 1)
                answer = clients.answer(0)
                clients.close()
                if answer == b"hello":
                    break
            assert answer == b"hello"
        finish(child)


WITHOUT_A_SPARE_ONE = """
import socket

async def main():
    sock = socket.create_server(("127.0.0.1", 0))
    held = use_up_descriptors()
    async with await asyncio.get_running_loop().create_server(Hello, sock=sock) as server:
        print(sock.getsockname()[1], flush=True)
        await until(lambda: reports)
        for fd in held:
            os.close(fd)
        await asyncio.get_running_loop().run_in_executor(None, input)
        print({report["message"] for report in reports})
        await until(lambda: len(lost) == len(connections))
run(main)
"""


def test_a_listener_that_has_no_spare_descriptor_tries_again(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """No event comes when a descriptor is free again."""
    child = start(loop_factory, WITHOUT_A_SPARE_ONE)
    with child:
        assert child.stdout is not None
        clients = Clients(int(child.stdout.readline()), 1)
        try:
            assert clients.answer(0) == b"hello"
        finally:
            clients.close()
        assert finish(child) == "{'socket.accept() out of system resource'}\n"


@pytest.mark.skipif(shutil.which("strace") is None, reason="counts system calls with strace")
def test_no_busy_loop_while_exhausted(loop_factory: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    """Half a second without descriptors and without new clients must not cost thousands of system calls."""
    trace = tmp_path / "trace"
    child = start(
        loop_factory,
        body(
            """
            await until(lambda: reports)
            print("exhausted", flush=True)
            os.umask(0o123)  # marks the place in the trace
            await asyncio.sleep(0.5)
            os.umask(0o123)
            print("rested", flush=True)
            await until(lambda: len(lost) == len(connections))
            """,
            spare=6,
        ),
        ["strace", "-f", "-o", str(trace)],
    )
    with child:
        assert child.stdout is not None
        clients = Clients(int(child.stdout.readline()), 20)
        try:
            assert child.stdout.readline() == "exhausted\n"
            assert child.stdout.readline() == "rested\n"
        finally:
            clients.close()
        finish(child)
    before, between, after = trace.read_text().split("umask(0123)")
    calls = between.splitlines()
    assert before
    assert after
    assert len(calls) < 500, calls[:50]


@pytest.mark.edgeloop_only
def test_accept_is_not_tried_again_at_once_where_no_descriptor_can_be_freed() -> None:
    program = WITHOUT_A_SPARE_ONE.replace(
        "await until(lambda: reports)",
        "await until(lambda: reports); print(edgeloop.stats(asyncio.get_running_loop()).accepts_failed, flush=True)",
    ).replace("async def main", "import edgeloop; edgeloop.stats\n\nasync def main", 1)
    child = start(edgeloop.new_event_loop, program)
    with child:
        assert child.stdout is not None
        clients = Clients(int(child.stdout.readline()), 1)
        try:
            assert int(child.stdout.readline()) < 100  # a turn would have 256 tries
            assert clients.answer(0) == b"hello"
        finally:
            clients.close()
        finish(child)


@pytest.mark.edgeloop_only
def test_a_server_that_is_closed_by_the_report_accepts_no_more() -> None:
    child = start(
        edgeloop.new_event_loop,
        body(
            """
            def close(loop, context):
                keep(loop, context)
                server.close()
                resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))

            loop.set_exception_handler(close)
            await until(lambda: reports)
            await loop.run_in_executor(None, input)
            print([report["message"] for report in reports])
            for connection in connections:
                connection.transport.abort()
            """,
            spare=6,
        ),
    )
    with child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with contextlib.ExitStack() as clients:
            with contextlib.suppress(ConnectionRefusedError):  # those who come when it is closed
                for _ in range(10):
                    clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert finish(child) == "['socket.accept() out of system resource']\n"
