"""One class, one process: start it, follow it test by test, and go on after a test that hung or crashed the process."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

#: How a test can end. The first is the only good one.
OUTCOMES = ("passed", "failed", "error", "skipped", "hang", "crash")

#: Not a test: what happened after the last test of a class, until its process was gone.
AT_EXIT = "(process exit)"


@dataclass(frozen=True)
class Outcome:
    """How one test ended: one of OUTCOMES, the exception's last line, the suite's line, and how long it took."""

    outcome: str
    reason: str = ""
    where: str = ""
    seconds: float = 0.0


@dataclass
class Worker:
    """A worker process, and what it says. ``timeout`` is the longest time in seconds without a word from it."""

    arguments: list[str]
    timeout: float
    hung: bool = False
    output: str = ""
    returncode: int = 0

    def events(self) -> Iterator[dict[str, Any]]:
        """Run the worker to its end; yields its events. Sets ``hung``, ``output`` and ``returncode``."""
        reading, writing = os.pipe()
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
            tempfile.TemporaryFile() as output,
            open(reading, "rb", 0) as pipe,
        ):
            paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
            process = subprocess.Popen(
                [sys.executable, "-m", "compat.asyncio.worker", "--fd", str(writing), *self.arguments],
                cwd=directory,  # the suite writes files where it stands
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[writing],
                start_new_session=True,
            )
            os.close(writing)
            try:
                yield from self._lines(pipe, process.pid)
                if not self.hung:
                    self.hung = not _wait(process, self.timeout)
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGABRT)  # faulthandler writes down where it hangs
                    _wait(process, 5.0)
                _kill_session(process)
                self.returncode = process.wait()
                output.seek(0)
                self.output = output.read().decode(errors="replace")

    def _lines(self, pipe: Any, pid: int) -> Iterator[dict[str, Any]]:
        buffer = b""
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        # A process that a test forked holds the pipe open, so its end may never come: watch for the worker's own end.
        with open(os.pidfd_open(pid), "rb", 0) as pidfd:
            poll.register(pidfd, select.POLLIN)
            while ready := poll.poll(self.timeout * 1000):
                if pipe.fileno() not in (fd for fd, _ in ready):
                    return
                data = pipe.read(65536)
                if not data:
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                yield from map(json.loads, lines)
        self.hung = True

    def how_it_died(self) -> str:
        """The signal or exit status, and the last lines that faulthandler or the interpreter wrote."""
        code = self.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return f"{how}: {self.last_words()}" if self.last_words() else how

    def last_words(self) -> str:
        """Where the interpreter was, from the innermost frame outward, or the last line that it wrote."""
        threads = re.split(r"^(?=(?:Current thread|Thread) 0x)", self.output, flags=re.MULTILINE)
        current = next((thread for thread in threads if thread.startswith("Current")), self.output)
        frames = re.findall(r'^  File ".*/([^/"]+)", line (\d+) in (\S+)', current, re.MULTILINE)
        if frames:
            return " < ".join(f"{function} ({file}:{line})" for file, line, function in frames[:4])
        lines = [line for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the worker and the children it started: they share its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@dataclass(frozen=True)
class ClassRun:
    """One class of the suite and the tests of it to run."""

    loop: str
    suite: str
    module: str
    cls: str
    tests: tuple[str, ...]

    def run(self, timeout: float) -> dict[str, Outcome]:
        """Run the tests; each gets an outcome. After a hang or crash the rest goes on in a new process."""
        outcomes: dict[str, Outcome] = {}
        while rest := [test for test in self.tests if test not in outcomes]:
            outcomes.update(self._run_process(rest, timeout))
        return outcomes

    def _run_process(self, tests: list[str], timeout: float) -> dict[str, Outcome]:
        arguments = ["--loop", self.loop, "--suite", self.suite, "--module", self.module, "--class", self.cls]
        worker = Worker([*arguments, *tests], timeout)
        outcomes: dict[str, Outcome] = {}
        running, since, done = "", time.monotonic(), False
        fixture: dict[str, Any] | None = None
        for event in worker.events():
            now = time.monotonic()
            match event:
                case {"event": "start"}:
                    running, since = event["test"], now
                case {"event": "end"}:
                    seconds = round(now - since, 3)
                    outcomes[running] = Outcome(event["outcome"], event["reason"], event["where"], seconds)
                    running = ""
                case {"event": "fixture"}:
                    fixture = event
                case {"event": "done"}:
                    done = True
        rest = [test for test in tests if test not in outcomes]
        if worker.hung:
            after = f"nothing for {timeout:g} s in {worker.last_words()}"
            outcomes[running or (rest[0] if rest else AT_EXIT)] = Outcome("hang", after, seconds=timeout)
        elif fixture is not None and not running:
            why = Outcome(fixture["outcome"], f"{fixture['name']}: {fixture['reason']}", fixture["where"])
            outcomes.update(dict.fromkeys(rest, why) if rest else {fixture["name"]: why})
        elif not done and not outcomes and not running:
            why = Outcome("crash", f"before the first test: {worker.how_it_died()}")
            outcomes.update(dict.fromkeys(rest, why))
        elif not done or worker.returncode:
            outcomes[running or (rest[0] if rest else AT_EXIT)] = Outcome("crash", worker.how_it_died())
        elif rest:
            outcomes.update(dict.fromkeys(rest, Outcome("error", "the class ended without running this test")))
        return outcomes
