"""A process that runs tests: start it, follow what it says, see that it hung or died, and end what it leaves."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeloop.kernel.os_calls import pidfd_open

#: The variable that tells the process which descriptor to write its events to.
FD = "EDGELOOP_COMPAT_FD"

#: Seconds that a process may take until its first word, and from its last one to its end, whatever its tests may take.
START_SECONDS = 120.0
END_SECONDS = 30.0

_running: set[subprocess.Popen[bytes]] = set()


@dataclass
class Process:
    """A process and what it says, as lines of JSON, to the descriptor whose number is in its environment as FD.

    ``timeout`` is the longest time in seconds between two words from it. ``directory`` is where it runs (None: one of its
    own, which is removed), ``environment`` what is added to ours.
    """

    command: list[str]
    timeout: float
    directory: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    hung: bool = False
    output: str = ""
    returncode: int = 0

    def events(self) -> Iterator[dict[str, Any]]:
        """Run the process to its end; yields its events. Sets ``hung``, ``output`` and ``returncode``."""
        reading, writing = os.pipe()
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own_directory,
            tempfile.TemporaryFile() as output,
            open(reading, "rb", 0) as pipe,
        ):
            process = subprocess.Popen(
                self.command,
                cwd=self.directory or own_directory,  # a suite writes files where it stands
                env={**os.environ, **self.environment, FD: str(writing)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[writing],
                start_new_session=True,
            )
            _running.add(process)
            os.close(writing)
            try:
                yield from self._lines(pipe, process.pid)
                if not self.hung:
                    self.hung = not _wait(process, max(self.timeout, END_SECONDS))
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGABRT)  # faulthandler writes down where it hangs
                    _wait(process, 5.0)
                _kill_session(process)
                _running.discard(process)
                self.returncode = process.wait()
                output.seek(0)
                self.output = output.read().decode(errors="replace")

    def _lines(self, pipe: Any, pid: int) -> Iterator[dict[str, Any]]:
        buffer = b""
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        # A process that a test forked holds the pipe open, so its end may never come: watch for the process' own end.
        with open(pidfd_open(pid), "rb", 0) as pidfd:
            poll.register(pidfd, select.POLLIN)
            timeout = max(self.timeout, START_SECONDS)
            while ready := poll.poll(timeout * 1000):
                if pipe.fileno() not in (fd for fd, _ in ready):
                    return
                data = pipe.read(65536)
                if not data:
                    return
                timeout = self.timeout
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


def end_all() -> None:
    """End every process that is being followed, in whatever thread, and the services it has started."""
    for process in tuple(_running):
        _kill_session(process)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process and the children it started: they share its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
