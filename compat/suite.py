"""A recipe's tests on one loop: pytest in the project's environment, followed test by test.

After a test that hung or crashed pytest, the rest goes on in a new process. The tests of the project and the tests of
our own run apart, because the project's configuration is not meant for ours; the node ids of ours begin with ``own/``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .environment import ROOT, Environment
from .following import Process
from .outcome import Outcome
from .recipe import Recipe

#: Not a test: what happened before the first test or after the last, outside of any.
OUTSIDE = "(outside of tests)"

_OWN = "own/"

#: pytest's exit statuses that say the run itself went well: all passed, some failed, none left to run.
_ORDERLY = (0, 1, 5)


@dataclass
class Found:
    """What a run found: outcomes by node id, each test's file, how many of the left out were met, loops made."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    strays: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Suite:
    """A recipe's tests, laid out in a folder for the time of one ``with`` statement."""

    def __init__(self, recipe: Recipe, environment: Environment, folder: Path) -> None:
        self.recipe = recipe
        self.environment = environment
        self.folder = folder

    @classmethod
    @contextmanager
    def laid_out(cls, recipe: Recipe, environment: Environment) -> Iterator[Suite]:
        """The tests in a folder of their own, removed at the end. A service run as another user may read it."""
        with tempfile.TemporaryDirectory(prefix=f"compat-{recipe.name}-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o755)
            environment.lay_out(Path(folder))
            yield cls(recipe, environment, Path(folder))

    def run(self, loop: str, only: list[str] | None = None) -> Found:
        """Run the tests, or those whose node ids are in ``only``, on ``loop``: ``asyncio``, ``edgeloop``, ..."""
        found = Found()
        started = time.monotonic()
        parts: list[tuple[Path, str, list[str]]] = []
        if self.recipe.tests:
            parts.append((self.folder, "", [*self.recipe.options, *self.recipe.tests]))
        if self.recipe.own_tests:
            # Without -c, pytest would go up to the project's configuration.
            alone = ["-c", os.devnull, "--rootdir=.", "--confcutdir=."]
            parts.append((self.folder / _OWN, _OWN, ["-p", "no:cacheprovider", *alone, "."]))
        for directory, prefix, arguments in parts:
            chosen = None if only is None else [test[len(prefix) :] for test in only if test.startswith(prefix)]
            if not prefix and chosen is not None:
                chosen = [test for test in chosen if not test.startswith(_OWN)]
            if chosen == []:
                continue
            part = _Part(self, loop, directory, arguments)
            part.run(chosen)
            if outside := part.found.outcomes.pop(OUTSIDE, None):
                found.outcomes.setdefault(OUTSIDE, outside)
            found.outcomes.update({prefix + test: outcome for test, outcome in part.found.outcomes.items()})
            found.files.update({prefix + test: file for test, file in part.found.files.items()})
            for counts, more in (
                (found.left_out, part.found.left_out),
                (found.made, part.found.made),
                (found.strays, part.found.strays),
            ):
                counts.update(more)
        found.seconds = time.monotonic() - started
        return found


class _Part:
    """One pytest command, started as often as tests hang or crash it."""

    def __init__(self, suite: Suite, loop: str, directory: Path, arguments: list[str]) -> None:
        self.recipe = suite.recipe
        self.python = suite.environment.python
        self.loop = loop
        self.directory = directory
        self.arguments = arguments
        self.found = Found()

    def run(self, only: list[str] | None) -> None:
        outcomes = self.found.outcomes
        while True:
            known = len(outcomes)
            if self._run_process(only) or len(outcomes) == known:
                break
        for test in [*self.found.files, *(only or [])]:
            if only is None or test in only:
                outcomes.setdefault(test, Outcome("error", "pytest ended without running this test"))

    def _environment(self, pick: Path) -> dict[str, str]:
        bin_first = os.pathsep.join([str(self.python.parent), os.environ.get("PATH", "")])
        variables = {
            "EDGELOOP_COMPAT_LOOP": self.loop,
            "EDGELOOP_COMPAT_PICK": str(pick),
            "PATH": bin_first,
            "VIRTUAL_ENV": str(self.python.parents[1]),
            **self.recipe.environment,
        }
        if self.recipe.page:
            variables["EDGELOOP_COMPAT_PAGE"] = str(ROOT / self.recipe.page)
        variables["EDGELOOP_COMPAT_ROOT"] = str(ROOT)
        return variables

    def _run_process(self, only: list[str] | None) -> bool:
        """Start pytest once; whether it came to its end."""
        command = [str(self.python), "-m", "pytest", "-p", "edgeloop_compat_plugin", "--continue-on-collection-errors"]
        if self.python.with_name("pytest").exists():  # python -m would put the folder on sys.path
            command[1:3] = [str(self.python.with_name("pytest"))]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as pick:
            fields = {"only": only, "done": list(self.found.outcomes), "left_out": list(self.recipe.left_out)}
            pick.write(json.dumps(fields))
            pick.flush()
            os.chmod(pick.name, 0o644)
            process = Process(
                [*command, *self.arguments], self.recipe.timeout, self.directory, self._environment(Path(pick.name))
            )
            return self._follow(process)

    def _follow(self, process: Process) -> bool:
        outcomes = self.found.outcomes
        running: dict[str, float] = {}
        status: int | None = None
        counts: list[dict[str, Any]] = []
        for event in process.events():
            now = time.monotonic()
            match event:
                case {"event": "start"}:
                    running[event["test"]] = now
                case {"event": "end"}:
                    seconds = round(now - running.pop(event["test"], now), 3)
                    outcomes[event["test"]] = Outcome(event["outcome"], event["reason"], event["where"], seconds)
                case {"event": "uncollected"}:
                    outcomes[event["test"]] = Outcome("error", f"not collected: {event['reason']}")
                case {"event": "counts"}:
                    counts.append(event)
                case {"event": "done"}:
                    status = event["status"]
        for one in counts:
            self.found.files.update(one["collected"])
            self.found.made.update(one["made"])
            self.found.strays.update(one["strays"])
            for pattern, number in one["left_out"].items():  # each xdist worker sees them all
                self.found.left_out[pattern] = max(self.found.left_out[pattern], number)
        self._keep(process.output)
        if process.hung and status is None:
            after = f"nothing for {self.recipe.timeout:g} s in {process.last_words()}"
            outcomes.update(dict.fromkeys(running or [OUTSIDE], Outcome("hang", after, seconds=self.recipe.timeout)))
            return False
        if status is None:
            outcomes.update(dict.fromkeys(running or [OUTSIDE], Outcome("crash", process.how_it_died())))
            return False
        if process.hung:
            outcomes[OUTSIDE] = Outcome("hang", f"all tests ran, and pytest did not end: {process.last_words()}")
        elif status not in _ORDERLY:
            outcomes[OUTSIDE] = Outcome("error", f"pytest's exit status is {status}: {_last_line(process.output)}")
        elif process.returncode != status:
            outcomes[OUTSIDE] = Outcome("crash", f"after the last test: {process.how_it_died()}")
        return True

    def _keep(self, output: str) -> None:
        """pytest's own words go to standard error where somebody asked for them."""
        if os.environ.get("EDGELOOP_COMPAT_VERBOSE"):
            print(output, file=sys.stderr)


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""
