"""One of examples/ as a process of its own, and what the kernel says about it.

Under ``pytest --loop=asyncio`` the example finds, instead of edgeloop, a module of that name which gives it the
standard loop: the control run drives the same program.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

EXAMPLES = ROOT / "examples"

STANDARD_LOOP = """
import asyncio
EDITION = "none"
new_event_loop = asyncio.new_event_loop
def run(main):
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
"""


def environment(config: pytest.Config, directory: Path) -> dict[str, str]:
    """This process's environment, in which a child imports the edgeloop that these tests import (or the control's)."""
    if config.getoption("--loop") == "asyncio":
        (directory / "edgeloop.py").write_text(STANDARD_LOOP)
        found = directory
    else:
        import edgeloop

        found = Path(edgeloop.__file__).parents[1]
    inherited = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(found), *inherited])}


class ExampleProcess:
    """A running example. ``host`` and ``port`` are the address it printed."""

    def __init__(self, process: subprocess.Popen[str], host: str, port: int) -> None:
        self.process = process
        self.host = host
        self.port = port
        self.url = f"http://{host}:{port}"

    def descriptors(self) -> int:
        """How many descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident(self) -> int:
        """Bytes of its memory that are in RAM now (VmRSS of proc_pid_status(5))."""
        return memory(self.process.pid, "VmRSS")

    def peak(self) -> int:
        """The most bytes that were ever in RAM (VmHWM of proc_pid_status(5))."""
        return memory(self.process.pid, "VmHWM")


def memory(pid: int, line: str) -> int:
    """One of the Vm lines of proc_pid_status(5), in bytes."""
    found = re.search(rf"{line}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@contextmanager
def example(config: pytest.Config, directory: Path, script: str, *arguments: str) -> Iterator[ExampleProcess]:
    """Start ``script`` on a port of the kernel's choice; at the end stop it with SIGTERM and see that it stops well.

    Stops well: exit code 0 (also where the test has sent it a signal itself) and not one traceback on stderr.
    """
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / script), "--host", "127.0.0.1", "--port", "0", *arguments],
            env=environment(config, directory),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdout
            ready, _, _ = select.select([process.stdout], [], [], 30)
            line = process.stdout.readline() if ready else ""
            address = re.search(r"(127\.0\.0\.1):(\d+)", line)
            errors.seek(0)
            assert address, f"{script} printed no address but {line!r}, and on stderr: {errors.read()}"
            yield ExampleProcess(process, address[1], int(address[2]))
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            code = process.wait(30)
            errors.seek(0)
            complaints = errors.read()
            assert code == 0, f"{script} ended with {code}: {complaints}"
            assert "Traceback" not in complaints, complaints
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def example_of_a_test(script: str, *arguments: str) -> Any:
    """A fixture: an ``example`` of each test's own."""

    @pytest.fixture
    def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ExampleProcess]:
        with example(request.config, tmp_path, script, *arguments) as process:
            yield process

    return own


def example_of_a_module(script: str, *arguments: str) -> Any:
    """A fixture: one ``example`` for all of a module's tests, which don't stop it."""

    @pytest.fixture(scope="module")
    def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleProcess]:
        with example(request.config, tmp_path_factory.mktemp("example"), script, *arguments) as process:
            yield process

    return one


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether ``condition`` becomes true within the limit, which only keeps a failing test from hanging."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
