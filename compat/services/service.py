"""A service as a test starts, stops, kills and ends it: a process with a temporary folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .ports import free_port


def children(pid: int) -> list[int]:
    """The processes that this one has started and that are not waited for."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Service:
    """``start``, ``stop`` (in order), ``kill`` (at once), ``end`` (with its folder); in a ``with``, started and ended.

    It may be started again after ``stop`` and ``kill``: its port, like its folder, stays the same. A service says what its
    ``command`` is and how to see that it ``serves``.
    """

    #: The beginning of its folder's name.
    name: str
    #: Upon which it stops in order.
    stops_on = signal.SIGTERM
    #: The whole of its environment, where it doesn't inherit this one.
    environment: dict[str, str] | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def serves(self) -> bool:
        """Whether it lets clients in."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it with the data it has, and wait until it serves."""
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        while not self.serves():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with status {self.process.returncode}: {self.output()}")
            time.sleep(0.05)

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def stop(self) -> None:
        self._end(self.stops_on)

    def kill(self) -> None:
        """SIGKILL, to it and to the processes it has: its clients see the end of their connections alone."""
        self._end(signal.SIGKILL)

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def send(self, number: signal.Signals) -> None:
        assert self.process
        below = children(self.process.pid) if number == signal.SIGKILL else []
        self.process.send_signal(number)
        for pid in below:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.send(how)
            self.process.wait()
            self.process = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
