"""A server of a SO_REUSEPORT group is drained while clients connect: none of them is refused. In real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from limited_servers import Clients, ended
from recording import until

pytestmark = pytest.mark.edgeloop_only  # asyncio's Server has no such method

SERVER = """
import asyncio, sys
import edgeloop

class Answer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(NAME)
        self.transport.close()

NAME = sys.argv[1].encode()

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answer, "127.0.0.1", int(sys.argv[2]), reuse_port=True, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    drained = await server.drain(30)
    print(len(drained.cut), flush=True)

edgeloop.run(main())
"""


@contextlib.contextmanager
def serving(name: str, port: int) -> Iterator[tuple[Any, int]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, name, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stdin and child.stdout
        try:
            yield child, int(child.stdout.readline())
        finally:
            child.kill()


def drain(child: Any) -> None:
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "0\n"
    assert child.wait(60) == 0


class Load:
    """Threads that connect, ask and read the answer, one connection after the other."""

    def __init__(self, port: int, threads: int) -> None:
        self.port = port
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), 60) as sock:
                    sock.sendall(b"who?")
                    self.answers.append(sock.recv(100).decode())
            except OSError as exc:
                self.failures.append(repr(exc))

    def until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self.failures:
            self._over.wait(0.01)


def test_no_client_is_refused_while_a_successor_takes_over() -> None:
    with serving("old", 0) as (old, port), serving("new", port), Load(port, 8) as load:
        load.until(lambda: {"old", "new"} <= set(load.answers))
        drain(old)
        after = len(load.answers)
        load.until(lambda: len(load.answers) > after + 50)
        load.__exit__()
        assert load.failures == []
        assert set(load.answers) == {"old", "new"}
        assert set(load.answers[-40:]) == {"new"}


class Named(asyncio.Protocol):
    """Says which server it belongs to."""

    def __init__(self, name: bytes) -> None:
        self.name = name

    def connection_made(self, transport: Any) -> None:
        transport.write(self.name)
        transport.close()


async def test_who_comes_while_a_member_is_drained_comes_to_its_successor() -> None:
    """Its SYN is dropped, and the one that it sends a second later finds the successor."""
    loop: Any = asyncio.get_running_loop()
    old = await loop.create_server(lambda: Named(b"old"), "127.0.0.1", 0, reuse_port=True)
    address = old.sockets[0].getsockname()
    with Clients(address) as clients:
        waits = clients.connect()[0]
        draining = asyncio.ensure_future(old.drain(None))
        await asyncio.sleep(0)
        new = await loop.create_server(lambda: Named(b"new"), *address, reuse_port=True)
        late = [socket.socket() for _ in range(8)]  # about half of them would come to the old one
        clients.socks += late
        for sock in late:
            sock.setblocking(False)
        await asyncio.gather(*(loop.sock_connect(sock, address) for sock in late))
        assert await asyncio.gather(*(loop.sock_recv(sock, 100) for sock in late)) == [b"new"] * 8
        drained = await draining
        assert (drained.served, drained.cut) == ((waits.getsockname(),), ())
        assert await loop.sock_recv(waits, 100) == b"old"
        await until(lambda: new.status().open == 0)
    await ended(new)


async def test_a_socket_that_was_passed_in_has_no_filter() -> None:
    """Another process may be listening on it, and would get no clients."""
    loop: Any = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        with sock.dup() as others:
            server = await loop.create_server(lambda: Named(b"old"), sock=sock)
            await server.drain(None)
            with Clients(others.getsockname()) as clients:
                clients.connect()
                others.accept()[0].close()
