"""A listener out of descriptors: reported, survived, and over as soon as descriptors come free.

Each program runs in a process of its own, because the limit (RLIMIT_NOFILE, setrlimit(2)) holds for a whole process.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

PRELUDE = """
import asyncio, os, resource
import {module}

def limit_to(spare):
    # The limit is one above the highest number in use, so count from the top.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + spare, 4096))

class Hello(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"hello")
        connections.append(self)

    def connection_lost(self, exc):
        lost.append(self)

connections, lost, reports = [], [], []

def keep(loop, context):
    reports.append(context)

async def until(predicate):
    while not predicate():
        await asyncio.sleep(0.001)

def run(main):
    with asyncio.Runner(loop_factory={module}.{name}) as runner:
        runner.get_loop().set_exception_handler(keep)
        runner.run(main())
"""

# Clients live in the test's process, so that only the server's end counts against the limit.
SERVER = """
async def main():
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Hello, "127.0.0.1", 0, backlog=100) as server:
        limit_to({spare})
        print(server.sockets[0].getsockname()[1], flush=True)
        {body}
run(main)
"""


def start(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], program: str, under: Sequence[str] = ()
) -> subprocess.Popen[str]:
    prelude = PRELUDE.format(module=loop_factory.__module__, name=loop_factory.__qualname__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [*under, sys.executable, "-c", prelude + program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def body(code: str, spare: int) -> str:
    return SERVER.format(body=textwrap.indent(textwrap.dedent(code), " " * 8).strip(), spare=spare)


class Clients:
    """Connections to a port of another process; ``answers()`` tells which of them got what."""

    def __init__(self, port: int, count: int) -> None:
        self.socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for sock in self.socks:
            sock.settimeout(30)

    def answer(self, index: int) -> bytes:
        try:
            return self.socks[index].recv(100)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        for sock in self.socks:
            sock.close()


def finish(child: subprocess.Popen[str], told: str = "\n") -> str:
    output, errors = child.communicate(told, timeout=60)
    assert child.returncode == 0, errors
    return output


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
            print(len(connections), flush=True)
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
        assert int(finish(child)) == answers.count(b"hello")


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
