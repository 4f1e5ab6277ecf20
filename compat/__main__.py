"""Run the test suites of projects that people put on asyncio on edgeloop, and compare with the standard loop.

    python -m compat aiohttp trio          these two
    python -m compat all                   every recipe there is
    python -m compat all --write           ... and bring the table in compat/README.md up to date
    python -m compat aiohttp -k websocket  only tests whose node id contains this

on the Python that runs this; EDGELOOP_PURE=1 in the environment runs the pure edition. The exit status is 0 when no
test fails on edgeloop that passes on the standard loop and is not in the recipe's expectations.toml, and none passes
that is; 1 otherwise; 2 when a run could not be made. compat/README.md says how a recipe is written.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from . import expectations, following, recipe, report, table
from .control import Control, kept_in
from .environment import PYTHON, Environment, version_of
from .outcome import Outcome
from .recipe import Recipe
from .suite import OUTSIDE, Found, Suite

HERE = Path(__file__).parent

#: How often a test that failed is run once more, by itself, before it counts as failed.
AGAIN = 2


def arguments() -> argparse.Namespace:
    description, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m compat",
        description=description,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("names", nargs="+", metavar="NAME", help="a recipe's name, or all")
    add("--loop", default="edgeloop", help="edgeloop (default), asyncio (the control alone), uvloop or MODULE:FACTORY")
    add("-k", dest="pattern", help="only tests whose node id contains this")
    add("--jobs", type=int, default=1, help="recipes run at a time (default: %(default)s)")
    add("--control", action="store_true", help="run the control again, even where its results are known")
    add("--lock", action="store_true", help="install the newest requirements and write the recipe's constraints.txt")
    add("--write", action="store_true", help="bring the table in compat/README.md up to date")
    return parser.parse_args()


class Run:
    """One recipe in one invocation: ``judgement``, ``stale`` and ``problems`` say how it went, ``good`` whether well."""

    def __init__(self, args: argparse.Namespace, the_recipe: Recipe) -> None:
        self.args = args
        self.recipe = the_recipe
        self.environment = Environment(the_recipe)
        self.edition = "pure" if os.environ.get("EDGELOOP_PURE", "0") not in ("", "0") else "compiled"
        self.control = Control(_control_file(the_recipe))
        self.found = Found()
        self.judgement = report.Judgement()
        self.unsteady: dict[str, str] = {}  # failed, and passed each time it was run again by itself
        self.stale: list[str] = []
        self.problems: list[str] = []
        self.expected: dict[str, expectations.Expectation] = {}

    @property
    def good(self) -> bool:
        return not (self.judgement.failures or self.judgement.surprises or self.stale or self.problems)

    def run(self) -> None:
        """Run it. RuntimeError or ValueError where that can't be done."""
        self._say("environment")
        self.environment.prepare(pinned=not self.args.lock)
        if self.args.lock:
            self.environment.lock()
        with Suite.laid_out(self.recipe, self.environment) as suite:
            only = self._chosen(suite)
            loop = self.args.loop
            if self.args.control or loop == "asyncio" or not self._control_is_known(only):
                self._say("standard loop")
                self.found = self._run_control(suite, only)
            if loop == "asyncio":
                bad = [test for test, one in self.found.outcomes.items() if one.outcome not in ("passed", "skipped")]
                self.judgement.uncounted = bad
                return
            self._say(f"{loop}, {self.edition}")
            self.found = suite.run(loop, only)
            self._check_expectations(suite)
            if only is None:
                self._check_run()
            self._judge(suite, loop)

    def _run_control(self, suite: Suite, only: list[str] | None) -> Found:
        found = suite.run("asyncio", only)
        # What went wrong outside of tests may be the reason why there are so few of them.
        if outside := found.outcomes.pop(OUTSIDE, None):
            self.problems.append(report.describe("on the standard loop", outside))
        self.control.add(found.outcomes)
        return found

    def _say(self, what: str) -> None:
        print(f"{self.recipe.name} {self.recipe.version} on Python {PYTHON}: {what}", file=sys.stderr, flush=True)

    def _chosen(self, suite: Suite) -> list[str] | None:
        """The node ids that --k asks for; None: all. They are known from a run of the control."""
        if self.args.pattern is None:
            return None
        if not self.control.outcomes:
            self._say("standard loop, all tests, to know their names")
            self._run_control(suite, None)
        chosen = [test for test in self.control.outcomes if self.args.pattern in test]
        if not chosen:
            raise ValueError(f"no test of {self.recipe.name} contains {self.args.pattern!r}")
        return chosen

    def _control_is_known(self, only: list[str] | None) -> bool:
        return bool(self.control.outcomes) and all(map(self.control.knows, only or []))

    def _check_run(self) -> None:
        """Whether it was edgeloop that ran, and whether everything that is left out is still there."""
        ours = sum(number for name, number in self.found.made.items() if name.startswith("edgeloop."))
        if self.args.loop == "edgeloop" and not ours and not self.recipe.in_children:
            self.problems.append(f"no loop of edgeloop was made; made were {dict(self.found.made)}")
        gone = [pattern for pattern in self.recipe.left_out if not self.found.left_out[pattern]]
        self.stale += [f"{pattern}: left out, and there is no such test" for pattern in gone]

    def _check_expectations(self, suite: Suite) -> None:
        path = self.recipe.folder / "expectations.toml"
        if not path.exists():
            return
        for entry in expectations.load(path):
            if entry.applies(sys.version_info[:2], self.edition):
                self.expected[entry.test] = entry
                file = self.found.files.get(entry.test)
                source = Path(file).read_text() if file is not None else None
                if (source is not None or self.args.pattern is None) and (wrong := entry.stale(source)):
                    self.stale.append(wrong)

    def _judge(self, suite: Suite, loop: str) -> None:
        outcomes = self.found.outcomes
        # What only the control ran is missing: a test that disappears on edgeloop is a difference too.
        if self.args.pattern is None:
            for test in self.control.outcomes:
                if test not in outcomes and self.control.passes(test):
                    outcomes[test] = Outcome("error", "runs on the standard loop alone")
        unknown = [test for test in outcomes if not self.control.knows(test) and test != OUTSIDE]
        if unknown:
            self._run_control(suite, unknown)
        self.judgement = report.judge(outcomes, self.control, self.expected)
        for _ in range(AGAIN):
            again = [test for test in self.judgement.failures if test != OUTSIDE]
            if not again:
                break
            self._say(f"once more, by themselves: {len(again)} that failed")
            repeated = suite.run(loop, again).outcomes
            self._run_control(suite, again)
            for test in again:
                one = repeated.get(test, Outcome("error", "was not run"))
                if one.outcome == "passed":
                    self.unsteady.setdefault(test, outcomes[test].reason)
                else:
                    self.unsteady.pop(test, None)
                    outcomes[test] = one
            judgement = report.judge(outcomes, self.control, self.expected)
            self.judgement = judgement
        self.judgement.failures = [test for test in self.judgement.failures if test not in self.unsteady]
        uncounted = set(self.judgement.uncounted)
        self.unsteady = {test: why for test, why in self.unsteady.items() if test not in uncounted}

    def show(self) -> None:
        """Print what was found: lists first, the counts last, where one looks."""
        sections = {
            "The control does not pass these (or not always), so they count for nothing": self.judgement.uncounted,
            "Expected: these assume the standard library's own classes": self.judgement.explained,
            "Passed although expectations.toml says it can't be": self.judgement.surprises,
            "Failed once, and passed each time they were run again by themselves": sorted(self.unsteady),
            "Failed": self.judgement.failures,
        }
        print(f"\n== {self.recipe.name} {self.recipe.version}, {self.args.loop} {self.edition}, Python {PYTHON}")
        for title, tests in sections.items():
            if tests:
                print(f"\n{title}:\n", *(report.describe(test, self.found.outcomes[test]) for test in tests), sep="\n")
        for title, lines in {"Stale": self.stale, "Problems": self.problems}.items():
            if lines:
                print(f"\n{title}:\n", *lines, sep="\n")
        made = ", ".join(f"{number} {name}" for name, number in self.found.made.most_common())
        strays = ", ".join(f"{place} ({number})" for place, number in self.found.strays.most_common(12))
        print(f"\nloops made: {made or 'none in this process'}")
        if self.args.loop != "asyncio" and strays:
            print(f"of the standard library, in spite of the swap: {strays}")
        row = self.row()
        print(
            f"{row.tests} tests, the control passes {row.control}, of these {row.edgeloop} pass here; "
            f"{len(self.judgement.failures)} failed, {self.found.seconds:.0f} s",
            flush=True,
        )

    def row(self) -> table.Row:
        """The table's line of this run."""
        outcomes = self.found.outcomes
        passed = [test for test in outcomes if self.control.passes(test)]
        return table.Row(
            project=self.recipe.name,
            version=version_of(self.recipe),
            python=PYTHON,
            edition=self.edition,
            tests=len(outcomes) - (OUTSIDE in outcomes),
            control=len(passed),
            edgeloop=sum(outcomes[test].outcome == "passed" or test in self.unsteady for test in passed),
            differences=self._differences(),
            date=time.strftime("%Y-%m-%d"),
        )

    def _differences(self) -> tuple[str, ...]:
        parts = [f"{len(self.judgement.failures)} FAILED"] if self.judgement.failures else []
        reasons: dict[str, int] = {}
        for test in self.judgement.explained:
            reasons[self.expected[test].why] = reasons.get(self.expected[test].why, 0) + 1
        parts += [f"{number}: {why}" for why, number in reasons.items()]
        if self.unsteady:
            parts.append(
                f"{len(self.unsteady)} passed only when run again by itself: {', '.join(sorted(self.unsteady))}"
            )
        for pattern, why in self.recipe.left_out.items():
            parts.append(f"left out `{pattern}`: {why}")
        return tuple(parts)


def _control_file(the_recipe: Recipe) -> Path:
    decides = [HERE / name for name in ("suite.py", "plugin.py", "startup.py", "following.py")]
    # rglob wouldn't look into what recipes share, a link to a folder.
    found = (Path(top) / name for top, _, names in os.walk(the_recipe.folder, followlinks=True) for name in names)
    decides += sorted(path for path in found if path.suffix != ".pyc" and path.name != "expectations.toml")
    return kept_in(the_recipe.name, decides)


def main() -> int:
    args = arguments()
    try:
        chosen = recipe.names() if args.names == ["all"] else args.names
        recipes = [recipe.load(name) for name in chosen]
    except (LookupError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    status = 0

    def one(the_recipe: Recipe) -> Run | None:
        run = Run(args, the_recipe)
        try:
            run.run()
        except Exception:
            print(
                f"{the_recipe.name}: the run could not be made:\n{traceback.format_exc()}", file=sys.stderr, flush=True
            )
            return None
        return run

    here = [the_recipe for the_recipe in recipes if the_recipe.runs_on(sys.version_info[:2])]
    for other in recipes:
        if other not in here:
            print(f"{other.name} is for Python {other.pythons}, this is {PYTHON}", file=sys.stderr)
    pool = ThreadPoolExecutor(args.jobs)
    try:
        for run in pool.map(one, here):
            if run is None:
                status = 2
                continue
            run.show()
            if not run.good:
                status = max(status, 1)
            if args.write and args.pattern is None and args.loop == "edgeloop":
                table.write(run.row())
    except KeyboardInterrupt:
        following.end_all()
        os._exit(130)  # without waiting for the threads of the other runs
    pool.shutdown()
    return status


def interrupt(number: int, frame: object) -> NoReturn:
    """SIGTERM ends a run as Ctrl-C does: with what it has started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(main())
