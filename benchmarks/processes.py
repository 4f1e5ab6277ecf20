"""The processes of a measurement: the two C programs, the servers, the load. All of them end with their block."""

from __future__ import annotations

import contextlib
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

from benchmarks.listening import CERTIFICATE
from benchmarks.loops import LIMIT, LOOPS, environment
from benchmarks.machine import Cores, pinned

HERE = Path(__file__).parent
ROOT = HERE.parent
START_SECONDS = 30.0
#: The C programs. Those that can talk TLS are built without it where OpenSSL's headers are missing.
PROGRAMS = (
    "echo",
    "echo_datagrams",
    "echo_floods",
    "load",
    "datagrams",
    "fairness",
    "burst",
    "firstbyte",
    "floods",
    "coldstart",
)
WITH_TLS = ("load", "firstbyte", "floods")
TLS = ("-DWITH_TLS", "-lssl", "-lcrypto")
#: The C program and its service, by the service of server.py whose limit that is.
NATIVE = {
    **dict.fromkeys(
        ("echo", "buffered", "streams", "ownstreams", "sock", "twowrites", "unix", "waiting"), ("echo", "echo")
    ),
    "sink": ("echo", "sink"),
    "fetch": ("echo", "fetch"),
    "datagrams": ("echo_datagrams", "echo"),
    "count": ("echo_datagrams", "count"),
    "work": ("echo", "work"),
    **dict.fromkeys(("tokens", "tokenstreams", "tokenownstreams", "tokenunix"), ("echo", "token")),
    "connflood": ("echo_floods", "connections"),
    "dgramflood": ("echo_floods", "datagrams"),
}


class MeasurementError(Exception):
    """A process ended with an error or gave no answer. Its text says which one, with the end of what it wrote."""


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: where the C programs are, which cores, and which Python runs which loop.

    ``nice`` is the niceness of the server and of the load, -20 to 19; below 0 it takes CAP_SYS_NICE (setpriority(2)).
    ``watched``: the command, without the server's own, of a program that runs the server and looks on.
    """

    programs: Path
    cores: Cores
    nice: int = 0
    pythons: Mapping[str, str] = field(default_factory=dict)
    watched: tuple[str, ...] = ()

    def python(self, name: str) -> str:
        return self.pythons.get(name, sys.executable)


@contextmanager
def compiled() -> Iterator[Path]:
    """A temporary directory with PROGRAMS and a certificate. Raises MeasurementError if gcc is missing or refuses."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        folder = Path(directory)
        for name in PROGRAMS:
            compile_one(folder, name)
        make_certificate(folder / CERTIFICATE)
        yield folder


def compile_one(folder: Path, name: str) -> None:
    command = ["gcc", "-O2", "-Wall", "-o", str(folder / name), str(HERE / f"{name}.c")]
    try:
        if name in WITH_TLS and subprocess.run([*command, *TLS], capture_output=True).returncode == 0:
            return
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MeasurementError("gcc is needed to compile the C server and the load") from error
    except subprocess.CalledProcessError as error:
        raise MeasurementError(f"gcc: {error.stderr}") from error


def make_certificate(path: Path) -> None:
    """A key on P-256, as most servers have today, and its certificate. Without the program openssl, there is none."""
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", "/CN=localhost", "-keyout", f"{path}.key", "-out", f"{path}.crt"]
    with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):
        subprocess.run(command, check=True, capture_output=True)
        path.write_text(Path(f"{path}.key").read_text() + Path(f"{path}.crt").read_text())


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
    """The command, without the folders that are only there on this machine."""
    words = [Path(word).name if word.startswith("/") else word for word in cast(list[str], process.args)]
    return " ".join(words)


@dataclass(frozen=True)
class Server:
    """``address`` is a port, or the path of a Unix socket."""

    pid: int
    address: str


@contextmanager
def serving(bench: Bench, service: str, name: str, size: int) -> Iterator[Server]:
    """A server process that listens. ``service`` is one of server.py's, ``size`` in bytes."""
    with tempfile.TemporaryDirectory(prefix="socket-", dir=bench.programs) as own:
        if name == LIMIT:
            program, native = NATIVE[service]
            command = [str(bench.programs / program), native]
            command += [str(size)] if program == "echo" else []
            command += [f"{own}/socket"] if service in ("unix", "tokenunix") else []
        else:
            Path(own, CERTIFICATE).symlink_to(bench.programs / CERTIFICATE)
            command = [bench.python(name), "-m", "benchmarks.server", service, name, str(size), own]
        with running([*bench.watched, *command], bench.cores.server, name, bench.nice) as process:
            yield Server(process.pid, first_line(process, START_SECONDS))


@contextmanager
def answering(bench: Bench, service: str) -> Iterator[int]:
    """echo.c as the peer of a client that is measured: on the load's core, never asleep. Its port."""
    command = [str(bench.programs / "echo"), service, "1", "busy"]
    with running(command, bench.cores.load, LIMIT, bench.nice) as process:
        yield int(first_line(process, START_SECONDS))


@contextmanager
def loading(
    bench: Bench, server: Server, kind: str, connections: int, size: int, seconds: float
) -> Iterator[subprocess.Popen[str]]:
    """The load, running. Its warm-up is a fifth of ``seconds``.

    ``kind`` is one of load.c's, with ``tls:`` before it for TLS and ``datagrams:`` for the kinds of datagrams.c.
    """
    program, address = "load", server.address
    how, _, what = kind.rpartition(":")
    if how == "tls":
        address = f"tls:{address}"
    elif how:
        program = how
    numbers = [server.pid, connections, size, seconds / 5, seconds]
    command = [str(bench.programs / program), what, address, *map(str, numbers)]
    with running(command, bench.cores.load, LIMIT, bench.nice) as process:
        yield process


def load(bench: Bench, server: Server, kind: str, connections: int, size: int, seconds: float) -> dict[str, float]:
    """What the load counted. Raises MeasurementError when a reply was wrong or missing."""
    with loading(bench, server, kind, connections, size, seconds) as process:
        figures: dict[str, float] = json.loads(first_line(process, 2 * seconds + START_SECONDS))
        return figures


def counted(bench: Bench, program: str, *arguments: object, seconds: float) -> dict[str, float]:
    """What one of PROGRAMS measured from the load's core, in about ``seconds``."""
    command = [str(bench.programs / program), *map(str, arguments)]
    with running(command, bench.cores.load, LIMIT, bench.nice) as process:
        figures: dict[str, float] = json.loads(first_line(process, 2 * seconds + START_SECONDS))
        return figures


def started(bench: Bench, name: str, seconds: float) -> dict[str, float]:
    """What coldstart.c measured: a server that is started again and again."""
    package = None if name == LIMIT else LOOPS[name].package or "asyncio"
    command = [str(bench.programs / "echo"), "echo", "1"]
    if package is not None:
        command = [bench.python(name), "-m", "benchmarks.coldstart", package]
    command = [str(bench.programs / "coldstart"), str(bench.cores.server), str(seconds), *command]
    with running(command, bench.cores.load, name, bench.nice) as process:
        figures: dict[str, float] = json.loads(first_line(process, 2 * seconds + START_SECONDS))
        return figures


def inside(bench: Bench, subject: str, name: str, seconds: float, port: int | None = None) -> dict[str, float]:
    """What inside.py measured in a process of its own."""
    command = [bench.python(name), "-m", "benchmarks.inside", subject, name, str(seconds)]
    command += [] if port is None else [str(port)]
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
