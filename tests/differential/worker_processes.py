"""The loops that are compared: a process each, which stays up and takes programs over a pipe."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from repository import ROOT, SUPPORT

HERE = Path(__file__).parent
ANSWER_SECONDS = 180  # more than a patient program may take


class Worker:
    """A process that plays programs on one loop."""

    def __init__(self, loop: str, pure: bool = False) -> None:
        self.name = f"{loop}, pure" if pure else loop
        paths = [str(HERE), str(SUPPORT), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if name not in ("PYTHONWARNINGS", "PYTHONASYNCIODEBUG")
            },
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "EDGELOOP_PURE": "1" if pure else "0",
        }
        command = [sys.executable, str(HERE / "worker.py"), loop]
        self.complaints = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, text=True
        )
        self.greeting = self.answer()

    def ask(self, program: dict[str, Any]) -> None:
        """Send a program; the answer is to be taken before the next one."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(program) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """The trace of the program that was sent; AssertionError if the process has ended or does not answer."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], ANSWER_SECONDS)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            self.process.wait()
            self.complaints.seek(0)
            raise AssertionError(f"{self.name} {'ended' if ready else 'hangs'}: {self.complaints.read()[-5000:]}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.complaints.close()
