"""examples/workers.py: processes that are killed, replaced and stopped while clients ask."""

from __future__ import annotations

import collections
import http.client
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from example_process import EXAMPLES, ExampleProcess, eventually, example, example_of_a_module, example_of_a_test

pytestmark = pytest.mark.edgeloop_only  # Server.drain

server = example_of_a_module("workers.py", "--workers", "2")
own = example_of_a_test("workers.py", "--workers", "2")


def ask(server: ExampleProcess, path: str = "/") -> int:
    """Ask by a connection of its own which process answers."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    try:
        connection.request("GET", path)
        return int(connection.getresponse().read())
    finally:
        connection.close()


def workers(server: ExampleProcess) -> set[int]:
    """The children that the parent has now."""
    text = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return {int(number) for number in text.split()}


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


class Load:
    """Threads that ask again and again, some by a new connection each time and some by one that is kept."""

    def __init__(self, server: ExampleProcess) -> None:
        self.server = server
        self.ending = threading.Event()
        self.answers: collections.Counter[int] = collections.Counter()
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self.run, args=(kept,)) for kept in (False, False, True, True)]
        for thread in self.threads:
            thread.start()

    def run(self, kept: bool) -> None:
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=30)
        while not self.ending.is_set():
            try:
                # After an answer with "Connection: close" http.client connects again by itself.
                connection.request("GET", "/")
                self.answers[int(connection.getresponse().read())] += 1
            except Exception as exc:
                self.failures.append(repr(exc))
                connection.close()
            if not kept:
                connection.close()
            self.ending.wait(0.002)  # the workers' CPU time is for those that start, too
        connection.close()

    def end(self) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()


@contextmanager
def load(server: ExampleProcess) -> Iterator[Load]:
    made = Load(server)
    try:
        yield made
    finally:
        made.end()


def test_connections_are_spread_evenly(server: ExampleProcess) -> None:
    answers = collections.Counter(ask(server) for _ in range(200))
    # The kernel chooses by a hash of the addresses: 100 each, give or take 7; this is seven times that.
    assert min(answers.values()) > 50
    assert set(answers) == workers(server)


def test_a_worker_that_is_killed_is_replaced_and_nobody_in_its_queue_is_lost(server: ExampleProcess) -> None:
    before = workers(server)
    os.kill(next(iter(before)), signal.SIGKILL)
    # Connections that the kernel gives to the dead worker's socket wait there for its successor.
    answers = {ask(server) for _ in range(60)}
    assert eventually(lambda: len(workers(server)) == 2)
    assert len(workers(server) & before) == 1
    assert answers <= before | workers(server)


def test_a_rolling_restart_under_load_fails_no_request(server: ExampleProcess) -> None:
    former = workers(server)
    with load(server) as clients:
        assert eventually(lambda: former <= set(clients.answers))
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: len(workers(server)) == 2 and not workers(server) & former, 50)
        followers = workers(server)
        assert eventually(lambda: followers <= set(clients.answers))
    assert clients.failures == []
    assert set(clients.answers) == former | followers


def test_a_stop_answers_what_is_under_way(own: ExampleProcess) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(own, "/slow"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    # On a busy machine the first may be answered before the last has connected.
    assert eventually(lambda: established(own.port) + len(answers) >= 20)
    own.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert own.process.wait(30) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((own.host, own.port))


def established(port: int) -> int:
    """How many connections to the port there are, those that wait to be accepted too: proc(5), net/tcp; 01 is ESTABLISHED."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for words in lines if words[1].endswith(f":{port:04X}") and words[3] == "01")


def test_workers_end_when_their_parent_is_killed(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="ended with -9"),
        example(request.config, tmp_path, "workers.py", "--workers", "1") as server,
    ):
        ask(server)
        children = workers(server)
        server.process.kill()
        assert eventually(lambda: not any(map(alive, children)))


def test_a_new_version_that_does_not_start_leaves_the_old_one(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    program = tmp_path / "workers.py"
    program.write_text((EXAMPLES / "workers.py").read_text())
    with example(request.config, tmp_path, str(program), "--workers", "1") as server:
        ask(server)
        before = workers(server)
        program.write_text("import pathlib, sys\npathlib.Path(__file__).with_name('tried').touch()\nsys.exit(3)\n")
        server.process.send_signal(signal.SIGHUP)
        assert eventually((tmp_path / "tried").exists)
        assert eventually(lambda: workers(server) == before)
        assert ask(server) in before
        # And when it starts again, it is taken.
        program.write_text((EXAMPLES / "workers.py").read_text())
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: len(workers(server)) == 1 and not workers(server) & before)


def test_systemd_hears_of_beginning_reload_and_end(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # a name of the kernel's choice
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + manager.getsockname()[1:].decode())
        with example(request.config, tmp_path, "workers.py", "--workers", "1") as server:
            assert manager.recv(1000) == b"READY=1"
            server.process.send_signal(signal.SIGHUP)
            assert manager.recv(1000).startswith(b"RELOADING=1\n")
            assert manager.recv(1000) == b"READY=1"
        assert manager.recv(1000) == b"STOPPING=1"


def test_the_unit_names_what_there_is() -> None:
    unit = (EXAMPLES / "workers.service").read_text()
    (command,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    program, *arguments = command.split()[1:]
    assert (EXAMPLES / Path(program).name).exists()
    options = (EXAMPLES / "workers.py").read_text()
    for option in arguments[::2]:
        assert f'"{option}"' in options
