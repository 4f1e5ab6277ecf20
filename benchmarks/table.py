"""Results as a table for readers and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.cells import Cell
from benchmarks.loops import LIMIT
from benchmarks.measuring import Workload
from benchmarks.rounds import ATTEMPTS, Result

#: The loops that the others are compared to.
REFERENCES = (LIMIT, "uvloop")


def lines(cell: Cell, results: Sequence[Result]) -> list[str]:
    """The table of one cell: a line for each loop that finished all its rounds, and what went wrong with the others.

    After each figure that is compared come its spread over the rounds, in percent of the median, and its ratios to
    REFERENCES: below 1 is better than the reference. Below the table: what failed, and what other programs disturbed.
    """
    finished = [result for result in results if result.failure is None]
    references = [result for result in finished if result.loop in REFERENCES]
    heading = ["loop"]
    for column in cell.columns:
        heading.append(column.heading)
        if column.compared:
            heading += ["+-%", *(f"/{reference.loop}" for reference in references)]
    rows = [heading]
    for result in finished:
        row = [result.loop]
        for column in cell.columns:
            row.append(f"{result.value(column):,.{column.digits}f}")
            if column.compared:
                row.append(f"{100 * result.spread(column) / 2:.0f}")
                row += [ratio(result.value(column), reference.value(column)) for reference in references]
        rows.append(row)
    notes = [f"{result.loop} failed: {shortened(result.failure)}" for result in results if result.failure is not None]
    disturbed = [f"{result.loop} {result.disturbed()}" for result in finished if result.disturbed()]
    if disturbed:
        notes.append(f"rounds disturbed by other programs, {ATTEMPTS} times in a row: {', '.join(disturbed)}")
    return [*aligned(rows), *notes]


def shortened(failure: str) -> str:
    """What happened, and the last line of the traceback if there was one. JSON has the whole."""
    first, *others = failure.splitlines()
    return f"{first}: {others[-1]}" if others else first


def ratio(value: float, reference: float) -> str:
    return f"{value / reference:.2f}" if reference else "-"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width: the first to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if position == 0 else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def as_json(cell: Cell, work: Workload, results: Sequence[Result]) -> dict[str, Any]:
    """The same with the figures of every round."""
    return {
        "title": cell.title,
        "connections": cell.connections and work.connections,
        "size": cell.size and work.size,
        "seconds": work.seconds,
        "columns": [asdict(column) for column in cell.columns],
        "loops": {
            result.loop: {
                "failure": result.failure,
                "disturbed": result.disturbed(),
                "samples": {key: [digits(figures[key]) for figures in result.rounds] for key in keys(result)},
            }
            for result in results
        },
    }


def keys(result: Result) -> list[str]:
    return list(result.rounds[0]) if result.rounds else []


def digits(value: float) -> float:
    """More than six digits of a measurement are noise."""
    return float(f"{value:.6g}")
