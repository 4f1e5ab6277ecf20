"""A server with worker processes, as a test starts it, asks it and watches it through /proc.

Everything here is blocking sockets and threads, so that the loop under test is only in the server. The server runs in a
process group of its own: what is left of it after its end can be seen, and ended.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Only keeps a failing test from hanging.
LIMIT = 30.0

ON_EDGELOOP = os.environ["EDGELOOP_COMPAT_LOOP"] == "edgeloop"
LOOPS = {"asyncio": "asyncio.unix_events._UnixSelectorEventLoop", "edgeloop": "edgeloop.loop.EventLoop"}


def expected_loop() -> str:
    """The class of the loop that every worker has to run in this run."""
    return LOOPS[os.environ["EDGELOOP_COMPAT_LOOP"]]


def eventually(condition: Callable[[], bool], what: str, log: Callable[[], str] = str) -> None:
    """Wait until the condition is true; AssertionError with the server's log if that never happens."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}\n{log()}"
        time.sleep(0.02)


def status(pid: int) -> dict[str, str] | None:
    """proc_pid_status(5), or None once the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def running(pid: int) -> bool:
    """Whether there is such a process that has not ended; a zombie has."""
    facts = status(pid)
    return facts is not None and not facts["State"].startswith("Z")


def group_members(group: int) -> list[int]:
    """The processes of a process group that have not ended, by the fifth field of proc_pid_stat(5)."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                after_name = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(after_name[2]) == group and after_name[0] != "Z":
                found.append(int(entry))
    return found


def descriptors(pid: int) -> list[str]:
    """What each open descriptor of the process is: a file, a socket, a pipe, an epoll set."""
    kinds = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:  # closed since
            continue
        kinds.append(
            "file" if target.startswith("/") else target if target.startswith("anon") else target.split(":")[0]
        )
    return sorted(kinds)


def epoll_sets(pid: int) -> int:
    """How many epoll sets the process has open: one for each loop that is not closed, and copies inherited by fork."""
    return descriptors(pid).count("anon_inode:[eventpoll]")


def descriptors_become(pid: int, expected: list[str], log: Callable[[], str] = str) -> None:
    """Wait until the process has the expected descriptors open again; AssertionError with the ones it has instead."""
    deadline = time.monotonic() + LIMIT
    while (found := descriptors(pid)) != expected:
        assert time.monotonic() < deadline, f"{found}, not {expected}\n{log()}"
        time.sleep(0.02)


def connections(pid: int, port: int) -> int:
    """How many sockets of the process are connections to this port of its, by proc_pid_net(5); a listener is none."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] != "0A":  # TCP_LISTEN
            inodes.add(f"socket:[{fields[9]}]")
    held = 0
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            held += os.readlink(f"/proc/{pid}/fd/{entry}") in inodes
        except FileNotFoundError:  # closed since
            continue
    return held


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        return int(holder.getsockname()[1])


class Served:
    """A running server: its first process, its port, and what it has printed."""

    #: Whether the loop reads and writes the sockets, so that its epoll set is the process's only one.
    loop_does_the_io = True
    #: What must not stand in its output.
    never: tuple[str, ...] = ("Traceback",)
    workers = 2

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path, begun: Path) -> None:
        self.process = process
        self.port = port
        self._output = output
        self._begun = begun
        #: What every worker has to say of its loop.
        self.loop = expected_loop()

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self._output.read_text(errors="replace")

    def check_log(self) -> None:
        log = self.log()
        assert not [words for words in self.never if words in log], log

    def begun(self) -> list[str]:
        """The numbered requests that the application has begun to work on, in every worker."""
        return self._begun.read_text().split()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)

    def ask(self, path: str = "/", body: bytes | None = None) -> Any:
        """The JSON answer to one request on a connection of its own."""
        connection = self.connect()
        try:
            connection.request("POST" if body is not None else "GET", path, body, {"Connection": "close"})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, f"{answer.status}: {text!r}\n{self.log()}"
            return json.loads(text)
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether it answers at all; while it starts it may refuse, or close without a word."""
        try:
            self.ask()
        except (ConnectionError, http.client.HTTPException):
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log()}"
            return False
        return True

    def refuses(self) -> bool:
        """Whether nobody listens any more."""
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return True
        return False

    def at_rest(self, pids: set[int]) -> dict[int, list[str]]:
        """The descriptors of these workers, once the last of their connections is closed."""
        eventually(lambda: not any(connections(pid, self.port) for pid in pids), "an end of connections", self.log)
        return {pid: descriptors(pid) for pid in pids}

    def answering(self, count: int, without: set[int] | frozenset[int] = frozenset()) -> set[int]:
        """Ask until ``count`` different workers, none of ``without``, have answered, each from the loop of this run."""
        found: set[int] = set()

        def all_have_answered() -> bool:
            # Several connections at once, so that one worker doesn't get them all.
            connections = [self.connect() for _ in range(8)]
            try:
                for connection in connections:
                    connection.connect()
                for connection in connections:
                    connection.request("GET", "/")
                for connection in connections:
                    facts = json.loads(connection.getresponse().read())
                    assert facts["loop"] == self.loop, facts
                    found.add(facts["pid"])
            except (ConnectionError, http.client.HTTPException):
                # A worker that is on its way out may close a connection before it has read a request.
                assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log()}"
            finally:
                for connection in connections:
                    connection.close()
            return len(found - without) >= count

        eventually(all_have_answered, f"{count} workers that answer", self.log)
        return found - without

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once every process of the server has ended."""
        code = self.process.wait(LIMIT)
        eventually(lambda: not group_members(self.pid), f"an end of all processes: {group_members(self.pid)}", self.log)
        return code


@contextmanager
def served(
    *command: str, directory: Path, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Start the command, in which ``PORT`` stands for a free port, wait until it answers, and leave nothing of it."""
    port = port or free_port()
    output, begun = directory / f"output-{port}", directory / "begun"
    begun.touch()
    path = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts"), os.environ["PATH"]])
    here = os.pathsep.join([str(directory), str(Path(__file__).parents[1])])
    # Without the swap: what brings edgeloop into the workers is the command, as for a user.
    inherited = {name: value for name, value in os.environ.items() if name != "EDGELOOP_COMPAT_LOOP"}
    with output.open("wb") as log:
        process = subprocess.Popen(
            [argument.replace("PORT", str(port)) for argument in command],
            cwd=directory,
            env=inherited
            | {"PATH": path, "PYTHONPATH": here, "PYTHONUNBUFFERED": "1", "SERVED_BEGUN": str(begun)}
            | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Served(process, port, output, begun)
    try:
        eventually(server.answers, "an answer", server.log)
        yield server
    finally:
        for pid in group_members(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()
