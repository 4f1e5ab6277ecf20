"""What a run says: each test judged against the control and the expectations, a table by module, JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from .control import Control
from .expectations import Expectation
from .outcome import OUTCOMES, Outcome


@dataclass
class Judgement:
    """A run's results sorted by what they mean.

    ``failures``: the control passes, the loop doesn't, and nothing explains it. ``surprises``: an expectation says no
    foreign loop can pass, and it passed. ``explained``: failed as expected. ``uncounted``: the control does not pass
    it, or not always, so that it measures nothing.
    """

    failures: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)


def judge(results: dict[str, Outcome], control: Control, expected: dict[str, Expectation]) -> Judgement:
    """Sort ``results`` (by ``module.Class.test``) by what they mean."""
    judgement = Judgement()
    for test, result in results.items():
        if control.knows(test) and not control.passes(test):
            if (control.verdict(test), result.outcome) != ("skipped", "skipped"):
                judgement.uncounted.append(test)
        elif result.outcome == "passed":
            if test in expected:
                judgement.surprises.append(test)
        elif test in expected:
            judgement.explained.append(test)
        else:
            judgement.failures.append(test)
    return judgement


def table(results: dict[str, Outcome], control: Control) -> list[list[str]]:
    """A row for each module and one for all: every outcome's count, and the share of what the control passes."""
    modules: dict[str, Counter[str]] = {}
    for test, result in results.items():
        for name in (test.partition(".")[0], "all"):
            counts = modules.setdefault(name, Counter())
            counts[result.outcome] += 1
            if control.passes(test):
                counts["control"] += 1
                counts["both"] += result.outcome == "passed"
    rows = [["module", *OUTCOMES, "control", "share"]]
    for name in [*sorted(modules.keys() - {"all"}), "all"]:
        counts = modules.get(name, Counter())
        share = f"{100 * counts['both'] / counts['control']:.1f} %" if counts["control"] else "-"
        rows.append([name, *(str(counts[outcome]) for outcome in OUTCOMES), str(counts["control"]), share])
    return rows


def as_text(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([first.strip().ljust(widths[0]), *rest]))
    return "\n".join(lines)


def describe(test: str, result: Outcome) -> str:
    """A failed test in at most three lines: name and outcome, the exception's last line, the line of the suite."""
    lines = [f"{result.outcome.upper():7} {test}"]
    lines += [f"        {text}" for text in (result.reason[:300], result.where) if text]
    return "\n".join(lines)


def as_json(
    run: dict[str, Any], results: dict[str, Outcome], control: Control, judgement: Judgement, stale: list[str]
) -> dict[str, Any]:
    """Everything a run found, for a program to read; ``run`` says what was run."""
    tests = {}
    for test, result in results.items():
        verdict = control.verdict(test) if control.knows(test) else None
        tests[test] = {**asdict(result), "control": verdict}
    rows = table(results, control)
    return {**run, "table": rows, **asdict(judgement), "stale": stale, "tests": tests}
