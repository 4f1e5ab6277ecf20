"""The processes of a measurement: the two C programs, the servers, the load. All of them end with their block."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from benchmarks.loops import LIMIT, environment
from benchmarks.machine import Cores, pinned

HERE = Path(__file__).parent
ROOT = HERE.parent
START_SECONDS = 30.0
#: The services of echo.c by the service of server.py whose limit they are.
NATIVE = {
    **dict.fromkeys(("echo", "buffered", "streams", "ownstreams", "sock"), "echo"),
    "sink": "sink",
    "fetch": "fetch",
}


class MeasurementError(Exception):
    """A process ended with an error or gave no answer. Its text says which one, with the end of what it wrote."""


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: where the C programs are, which cores, and which Python runs which loop.

    ``nice`` is the niceness of the server and of the load, -20 to 19; below 0 it takes CAP_SYS_NICE (setpriority(2)).
    """

    programs: Path
    cores: Cores
    nice: int = 0
    pythons: Mapping[str, str] = field(default_factory=dict)

    def python(self, name: str) -> str:
        return self.pythons.get(name, sys.executable)


@contextmanager
def compiled() -> Iterator[Path]:
    """A temporary directory with ``echo`` and ``load``. Raises MeasurementError if there is no gcc or it refuses."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        for name in ("echo", "load"):
            command = ["gcc", "-O2", "-Wall", "-o", f"{directory}/{name}", str(HERE / f"{name}.c")]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except FileNotFoundError as error:
                raise MeasurementError("gcc is needed to compile the C server and the load") from error
            except subprocess.CalledProcessError as error:
                raise MeasurementError(f"gcc: {error.stderr}") from error
        yield Path(directory)


@contextmanager
def running(command: list[str], cpu: int, name: str, nice: int) -> Iterator[subprocess.Popen[str]]:
    """A process on its own CPU, killed at the end. Standard error goes to a file, so that it can't fill a pipe."""
    with tempfile.TemporaryFile("w+") as errors:
        with pinned(cpu):
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(name),
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        try:
            favour(process.pid, nice)
            yield process
        except MeasurementError as failed:
            process.kill()
            process.wait()
            errors.seek(0)
            last_words = errors.read()[-2000:].strip()
            raise MeasurementError(f"{failed}\n{last_words}" if last_words else str(failed)) from failed
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def favour(pid: int, nice: int) -> None:
    """Sets the niceness of a process that leads a session of its own.

    Where the kernel groups sessions (sched(7), autogroup), a process's niceness counts within its session only, and
    the session has one of its own. Raises PermissionError for a value below 0 without CAP_SYS_NICE.
    """
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    session = Path(f"/proc/{pid}/autogroup")
    if nice and session.exists():
        session.write_text(str(nice))


def first_line(process: subprocess.Popen[str], limit: float) -> str:
    """The first line the process writes.

    Raises MeasurementError after ``limit`` seconds, or when the process ends without one.
    """
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], limit)
    if not ready:
        raise MeasurementError(f"no answer within {limit:.0f} s from {shown(process)}")
    line = process.stdout.readline()
    if not line:
        raise MeasurementError(f"exit code {process.wait()} from {shown(process)}")
    return line.strip()


def shown(process: subprocess.Popen[str]) -> str:
    return " ".join(map(str, cast(list[str], process.args)))


@dataclass(frozen=True)
class Server:
    pid: int
    port: int


@contextmanager
def serving(bench: Bench, service: str, name: str, size: int) -> Iterator[Server]:
    """A server process that listens. ``service`` is one of server.py's, ``size`` in bytes."""
    if name == LIMIT:
        command = [str(bench.programs / "echo"), NATIVE[service], str(size)]
    else:
        command = [bench.python(name), "-m", "benchmarks.server", service, name, str(size)]
    with running(command, bench.cores.server, name, bench.nice) as process:
        yield Server(process.pid, int(first_line(process, START_SECONDS)))


@contextmanager
def loading(
    bench: Bench, server: Server, kind: str, connections: int, size: int, seconds: float
) -> Iterator[subprocess.Popen[str]]:
    """The load, running. Its warm-up is a fifth of ``seconds``."""
    numbers = [server.port, server.pid, connections, size, seconds / 5, seconds]
    command = [str(bench.programs / "load"), kind, *map(str, numbers)]
    with running(command, bench.cores.load, LIMIT, bench.nice) as process:
        yield process


def load(bench: Bench, server: Server, kind: str, connections: int, size: int, seconds: float) -> dict[str, float]:
    """What load.c counted. Raises MeasurementError when a reply was wrong or missing."""
    with loading(bench, server, kind, connections, size, seconds) as process:
        figures: dict[str, float] = json.loads(first_line(process, 2 * seconds + START_SECONDS))
        return figures


def inside(bench: Bench, subject: str, name: str, seconds: float) -> dict[str, float]:
    """What inside.py measured in a process of its own."""
    command = [bench.python(name), "-m", "benchmarks.inside", subject, name, str(seconds)]
    with running(command, bench.cores.server, name, bench.nice) as process:
        figures: dict[str, float] = json.loads(first_line(process, 2 * seconds + START_SECONDS))
        return figures


def availability(bench: Bench, name: str) -> tuple[bool, str]:
    """Whether the loop can be had, with its version or the reason why not."""
    if name == LIMIT:
        return True, "gcc -O2"
    command = [bench.python(name), "-m", "benchmarks.loops", name]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(name), capture_output=True, text=True, timeout=START_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    if done.returncode:
        return False, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return True, done.stdout.strip()
