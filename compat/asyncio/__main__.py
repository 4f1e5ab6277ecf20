"""Run the interpreter's own ``test.test_asyncio`` on a loop, and compare it with the standard loop test by test.

    python -m compat.asyncio                        the whole suite on edgeloop
    python -m compat.asyncio --loop uvloop          ... on another loop
    python -m compat.asyncio --streams --module test_streams
    python -m compat.asyncio --module test_events --class EPollEventLoopTests -k subprocess

The control (the standard selector loop in the same harness) is run first for every test whose control result is not
known yet, or for all of them with --control; a test that fails without an explanation is run on the control once more,
so that one that is flaky on this machine doesn't count. The exit status is 0 when nothing fails that is not in
expectations.toml and nothing passes that is; 1 otherwise; 2 when the run itself could not be made. With --loop asyncio
the run is the control, and its status is 0 when no test hung or crashed.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .. import expectations, report
from ..control import Control, kept_in
from ..outcome import Outcome
from .processes import ClassRun, worker
from .selection import SUITE

HERE = Path(__file__).parent


def control_file() -> Path:
    """Where the control's results are kept, as long as what decides about them stays the same."""
    here = [HERE / name for name in ("processes.py", "selection.py", "swap.py", "worker.py")]
    return kept_in("asyncio", [*here, HERE.parent / "following.py", HERE.parent / "startup.py"])


def arguments() -> argparse.Namespace:
    description, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m compat.asyncio",
        description=description,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--loop", default="edgeloop", help="edgeloop (default), asyncio, uvloop or MODULE:FACTORY")
    add("--streams", action="store_true", help="with the streams of edgeloop.streams in place of asyncio's own")
    add("--module", action="append", default=[], help="only this module, such as test_events (repeatable)")
    add("--class", dest="cls", action="append", default=[], help="only this class (repeatable)")
    add("-k", dest="pattern", help="only tests whose module.Class.test contains this (or matches it, with * in it)")
    add("--jobs", type=int, default=2, help="classes run at a time (default: %(default)s)")
    add("--timeout", type=float, default=60.0, help="seconds after which a silent test hangs (default: %(default)g)")
    add("--json", type=Path, help="write everything found to this file")
    add("--control", action="store_true", help="run the control again, even where its results are known")
    add("--control-file", type=Path, default=control_file(), help="where the control's results are kept")
    add("--expectations", type=Path, default=HERE / "expectations.toml", help="the expectations file")
    add("--suite", default=SUITE, help="the package of test modules (default: %(default)s)")
    add("--check-expectations", action="store_true", help="only look for stale entries in the expectations file")
    add("--list", action="store_true", help="list the tests that would be run, and what is left out and why")
    return parser.parse_args()


class Run:
    """One invocation: what to run (``classes``: tests by ``module.Class``, with their sources), on which loop."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.classes: dict[str, dict[str, str]] = {}
        self.notes: list[str] = []
        self.outcomes: dict[str, Outcome] = {}  # of modules that could not be imported
        self.loop = self.args.loop

    def find(self) -> None:
        """Import the suite on the loop under test and find its tests. Raises RuntimeError when that fails."""
        args = self.args
        modules = [part for name in args.module for part in ("--module", name)]
        process = worker(["--loop", args.loop, "--suite", args.suite, *modules], max(args.timeout, 60.0))
        answers = [event for event in process.events() if event["event"] == "listing"]
        if not answers:
            raise RuntimeError(f"can't import {args.suite} on {args.loop}:\n{process.output}")
        answer = answers[0]
        self.loop = answer["loop"]
        for module, found in answer["modules"].items():
            if "error" in found:
                self.outcomes[f"{module}.(import)"] = Outcome("error", found["error"])
            for kind in ("left_out", "skipped"):
                if kind in found:
                    self.notes.append(f"{module} {kind.replace('_', ' ')}: {found[kind]}")
            for cls, tests in found.get("classes", {}).items():
                chosen = {test: tests[test] for test in tests if self._wanted(module, cls, test)}
                if chosen:
                    self.classes[f"{module}.{cls}"] = chosen

    def _wanted(self, module: str, cls: str, test: str) -> bool:
        pattern = self.args.pattern
        if self.args.cls and cls not in self.args.cls:
            return False
        if pattern and "*" not in pattern:
            pattern = f"*{pattern}*"
        return not pattern or fnmatch.fnmatchcase(f"{module}.{cls}.{test}", pattern)

    def tests(self) -> list[str]:
        return [f"{cls}.{test}" for cls, tests in self.classes.items() for test in tests]

    def on(self, loop: str, tests: Iterable[str], control: Control) -> dict[str, Outcome]:
        """Run ``tests`` on ``loop``, a process for each class, the class that takes the control longest first."""
        by_class: dict[str, list[str]] = {}
        for test in tests:
            cls, _, name = test.rpartition(".")
            by_class.setdefault(cls, []).append(name)

        def cost(cls: str) -> float:
            return sum(control.seconds.get(f"{cls}.{name}", 0.0) for name in by_class[cls])

        def run(cls: str) -> dict[str, Outcome]:
            module, _, name = cls.partition(".")
            started = time.monotonic()
            streams = self.args.streams and loop != "asyncio"
            one = ClassRun(loop, self.args.suite, module, name, tuple(by_class[cls]), streams)
            found = {f"{cls}.{test}": outcome for test, outcome in one.run(self.args.timeout).items()}
            bad = sum(outcome.outcome not in ("passed", "skipped") for outcome in found.values())
            took = f"{time.monotonic() - started:6.1f} s"
            print(f"{loop:10} {cls:60} {len(found):4} tests {bad:4} bad {took}", file=sys.stderr, flush=True)
            return found

        results: dict[str, Outcome] = {}
        pool = ThreadPoolExecutor(self.args.jobs)
        try:
            for found in pool.map(run, sorted(by_class, key=cost, reverse=True)):
                results.update(found)
        except KeyboardInterrupt:
            os._exit(130)  # without waiting for the classes that run now: the kernel ends them with us
        pool.shutdown()
        return results


def expected_here(run: Run, edition: str | None) -> tuple[dict[str, expectations.Expectation], list[str]]:
    """The expectations in force for this run, by test, and those of them that are stale."""
    expected = {}
    stale = []
    for entry in expectations.load(run.args.expectations):
        cls, _, name = entry.test.rpartition(".")
        if not entry.applies(sys.version_info[:2], edition):
            continue
        expected[entry.test] = entry
        narrowed = run.args.module or run.args.cls or run.args.pattern
        source = run.classes.get(cls, {}).get(name)
        if (source is not None or not narrowed) and (wrong := entry.stale(source)):
            stale.append(wrong)
    return expected, stale


def main() -> int:
    args = arguments()
    run = Run(args)
    try:
        run.find()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    tests = run.tests()
    stale: list[str]
    if args.check_expectations:
        expected, stale = expected_here(run, None)
        print(*stale, f"{len(expected)} expectations for this version, {len(stale)} stale", sep="\n")
        return 1 if stale else 0
    if args.list:
        print(*tests, *run.notes, sep="\n")
        return 0
    if not tests and not run.outcomes:
        print("no test matches", file=sys.stderr)
        return 2
    started = time.monotonic()
    control = Control(args.control_file)
    if args.loop == "asyncio":
        results = run.on("asyncio", tests, control)
        control.add(results)
        stale = []
        failed = [test for test, result in results.items() if result.outcome not in ("passed", "skipped")]
        judgement = report.Judgement(uncounted=failed)
        good = not any(result.outcome in ("hang", "crash") for result in results.values())
    else:
        edition = run.loop.rpartition(" ")[2]
        expected, stale = expected_here(run, edition)
        unknown = [test for test in tests if args.control or not control.knows(test)]
        control.add(run.on("asyncio", unknown, control))
        results = {**run.outcomes, **run.on(args.loop, tests, control)}
        judgement = report.judge(results, control, expected)
        again = [test for test in judgement.failures if test in set(tests)]
        control.add(run.on("asyncio", again, control))
        judgement = report.judge(results, control, expected)
        good = not (judgement.failures or judgement.surprises or stale)
    show(run, results, control, judgement, stale)
    if args.json:
        about: dict[str, Any] = {
            "loop": run.loop,
            "python": sys.version.split()[0],
            "suite": args.suite,
            "date": time.strftime("%Y-%m-%d"),
            "seconds": round(time.monotonic() - started, 1),
        }
        args.json.write_text(json.dumps(report.as_json(about, results, control, judgement, stale), indent=1) + "\n")
    return 0 if good else 1


def show(
    run: Run, results: dict[str, Outcome], control: Control, judgement: report.Judgement, stale: list[str]
) -> None:
    """Print what the run found: lists first, the table and the counts last, where one looks."""
    sections = {
        "The control does not pass these (or not always), so they count for nothing": judgement.uncounted,
        "Expected: no foreign loop can pass these": judgement.explained,
        "Passed although expectations.toml says it can't be": judgement.surprises,
        "Failed": judgement.failures,
    }
    for title, tests in sections.items():
        if title.startswith("Expected") and tests:
            print(f"\n{title}: {len(tests)}")
        elif tests:
            print(f"\n{title}:\n", *(report.describe(test, results[test]) for test in tests), sep="\n")
    if stale:
        print("\nStale expectations:\n", *stale, sep="\n")
    print(f"\n{run.loop}, Python {sys.version.split()[0]}, {run.args.suite}\n")
    print(report.as_text(report.table(results, control)))
    counts = {
        "failed": judgement.failures,
        "passed unexpectedly": judgement.surprises,
        "failed as expected": judgement.explained,
        "not passed by the control": judgement.uncounted,
        "stale expectations": stale,
    }
    print("\n" + ", ".join(f"{len(tests)} {what}" for what, tests in counts.items()))


if __name__ == "__main__":
    sys.exit(main())
