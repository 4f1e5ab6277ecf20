"""examples/thread_pool_server.py: requests that block, made to end when the test likes by named pipes in place of files."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from example_process import ExampleProcess, eventually, example

pytestmark = pytest.mark.edgeloop_only  # limits of the server, and drain

Start = Callable[..., ExampleProcess]


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    found = tmp_path / "files"
    found.mkdir()
    for name in ("a", "b", "c"):
        (found / name).write_bytes(name.encode() * 1000)
    for name in ("pipe", "pipe2"):
        os.mkfifo(found / name)
    return found


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path, files: Path) -> Iterator[ExampleProcess]:
    more = getattr(request, "param", ())
    with example(request.config, tmp_path, "thread_pool_server.py", "--files", str(files), *more) as process:
        yield process


class Client:
    """A connection that asks line by line."""

    def __init__(self, server: ExampleProcess) -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout=30)
        self.file = self.socket.makefile("rb")

    def ask(self, *names: str) -> None:
        self.socket.sendall("".join(f"{name}\n" for name in names).encode())

    def answer(self) -> str:
        return self.file.readline().decode().rstrip("\n")

    def is_silent(self) -> bool:
        return select.select([self.socket], [], [], 0)[0] == []

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def reset(self) -> None:
        # socket(7): closed so, the peer gets a reset.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


@contextmanager
def clients(server: ExampleProcess, count: int) -> Iterator[list[Client]]:
    made = [Client(server) for _ in range(count)]
    try:
        yield made
    finally:
        for client in made:
            client.close()


def counts(client: Client) -> dict[str, int]:
    client.ask("/status")
    words = client.answer().split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def let_go(pipe: Path, data: bytes = b"done") -> None:
    """End the request that reads the pipe: open(2) waits until a thread does."""
    with open(pipe, "wb") as file:
        file.write(data)


def test_answers_keep_the_order_of_their_requests(server: ExampleProcess, files: Path) -> None:
    with clients(server, 2) as (one, other):
        one.ask("pipe", "a", "missing", "b")
        other.ask("c")
        assert other.answer() == checksum(b"c" * 1000)
        # The other three are done, and wait for the first.
        assert eventually(lambda: counts(other)["answered"] == 4)
        assert one.is_silent()
        let_go(files / "pipe")
        expected = [checksum(b"done"), checksum(b"a" * 1000), "error: No such file or directory", checksum(b"b" * 1000)]
        assert [one.answer() for _ in range(4)] == expected


def test_a_connection_has_a_few_requests_at_a_time(server: ExampleProcess, files: Path) -> None:
    with clients(server, 2) as (one, other):
        one.ask("pipe", *["a"] * 999)
        assert eventually(lambda: counts(other)["answered"] == 15)
        assert counts(other)["pending"] == 1
        let_go(files / "pipe")
        assert one.answer() == checksum(b"done")
        assert {one.answer() for _ in range(999)} == {checksum(b"a" * 1000)}


@pytest.mark.parametrize("server", [("--threads", "1", "--max-pending", "2")], indirect=True)
def test_too_many_requests_are_told_busy_at_once(server: ExampleProcess, files: Path) -> None:
    with clients(server, 3) as (one, other, third):
        one.ask("pipe")
        other.ask("a")
        assert eventually(lambda: counts(third)["pending"] == 2)
        third.ask("b")
        assert third.answer() == "busy"
        let_go(files / "pipe")
        assert one.answer() == checksum(b"done")
        assert other.answer() == checksum(b"a" * 1000)
        third.ask("b")
        assert third.answer() == checksum(b"b" * 1000)


@pytest.mark.parametrize("server", [("--threads", "1")], indirect=True)
def test_requests_of_a_client_that_has_left_are_forgotten(server: ExampleProcess, files: Path) -> None:
    with clients(server, 1) as (witness,):
        leaver = Client(server)
        leaver.ask("pipe", *["a"] * 10)
        assert eventually(lambda: counts(witness)["pending"] == 11)
        leaver.reset()
        assert eventually(lambda: counts(witness)["forgotten"] >= 10)
        assert counts(witness)["pending"] <= 1
        let_go(files / "pipe")  # a thread can't be interrupted: it reads on, and then sees that nobody waits
        assert eventually(lambda: counts(witness) == {"pending": 0, "answered": 0, "busy": 0, "forgotten": 11})


def test_a_client_that_has_closed_its_sending_half_is_answered(server: ExampleProcess, files: Path) -> None:
    with clients(server, 1) as (one,):
        one.ask("pipe", "a")
        one.socket.sendall(b"b")  # the last line may lack its end
        one.socket.shutdown(socket.SHUT_WR)
        let_go(files / "pipe")
        lines = one.file.read().decode().splitlines()
        assert lines == [checksum(b"done"), checksum(b"a" * 1000), checksum(b"b" * 1000)]


def test_what_is_no_name_is_refused(server: ExampleProcess) -> None:
    with clients(server, 1) as (one,):
        for name in ("../files/a", "/etc/passwd", "..", "", ".hidden", "a/../b", "a\0b", "\u00fc"):
            one.ask(name, "a")
            assert one.answer().startswith("error: "), name
            assert one.answer() == checksum(b"a" * 1000)


def test_a_line_that_is_too_long_ends_the_connection(server: ExampleProcess) -> None:
    with clients(server, 1) as (one,):
        one.ask("a")
        one.socket.sendall(b"x" * 300)
        assert one.answer() == checksum(b"a" * 1000)
        assert one.answer() == "error: a line has at most 256 bytes"
        assert one.answer() == ""


def test_a_stop_waits_for_what_threads_do(server: ExampleProcess, files: Path) -> None:
    with clients(server, 2) as (one, other):
        one.ask("pipe", "a")
        assert eventually(lambda: counts(other)["answered"] == 1)
        server.process.send_signal(signal.SIGTERM)
        assert other.answer() == ""  # idle, and closed
        let_go(files / "pipe")
        assert [one.answer() for _ in range(3)] == [checksum(b"done"), checksum(b"a" * 1000), ""]
        assert server.process.wait(30) == 0
