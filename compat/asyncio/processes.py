"""One class, one process: start it, follow it test by test, and go on after a test that hung or crashed the process."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..following import Process
from ..outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]

#: Not a test: what happened after the last test of a class, until its process was gone.
AT_EXIT = "(process exit)"


def worker(arguments: list[str], timeout: float) -> Process:
    """The process that lists or runs classes; ``timeout``: seconds without a word from it."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "compat.asyncio.worker", *arguments]
    return Process(command, timeout, environment={"PYTHONPATH": os.pathsep.join(paths)})


@dataclass(frozen=True)
class ClassRun:
    """One class of the suite and the tests of it to run."""

    loop: str
    suite: str
    module: str
    cls: str
    tests: tuple[str, ...]
    streams: bool = False

    def run(self, timeout: float) -> dict[str, Outcome]:
        """Run the tests; each gets an outcome. After a hang or crash the rest goes on in a new process."""
        outcomes: dict[str, Outcome] = {}
        while rest := [test for test in self.tests if test not in outcomes]:
            outcomes.update(self._run_process(rest, timeout))
        return outcomes

    def _run_process(self, tests: list[str], timeout: float) -> dict[str, Outcome]:
        arguments = ["--loop", self.loop, "--suite", self.suite, "--module", self.module, "--class", self.cls]
        if self.streams:
            arguments.append("--streams")
        process = worker([*arguments, *tests], timeout)
        outcomes: dict[str, Outcome] = {}
        running, since, done = "", time.monotonic(), False
        fixture: dict[str, Any] | None = None
        for event in process.events():
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
        if process.hung:
            after = f"nothing for {timeout:g} s in {process.last_words()}"
            outcomes[running or (rest[0] if rest else AT_EXIT)] = Outcome("hang", after, seconds=timeout)
        elif fixture is not None and not running:
            why = Outcome(fixture["outcome"], f"{fixture['name']}: {fixture['reason']}", fixture["where"])
            outcomes.update(dict.fromkeys(rest, why) if rest else {fixture["name"]: why})
        elif not done and not outcomes and not running:
            why = Outcome("crash", f"before the first test: {process.how_it_died()}")
            outcomes.update(dict.fromkeys(rest, why))
        elif not done or process.returncode:
            outcomes[running or (rest[0] if rest else AT_EXIT)] = Outcome("crash", process.how_it_died())
        elif rest:
            outcomes.update(dict.fromkeys(rest, Outcome("error", "the class ended without running this test")))
        return outcomes
