"""One comparison: the loops take turns, round after round, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.cells import Cell, Column
from benchmarks.measuring import Figures, Workload
from benchmarks.processes import Bench, MeasurementError

#: A round in which the server or the load waited longer than this for a CPU, in percent, was disturbed by others. A
#: few percent are normal: the kernel's own threads take their share of the network's work.
QUIET = 10.0
ATTEMPTS = 3


@dataclass
class Result:
    """What one loop did in one cell: the figures of each round, or what went wrong."""

    loop: str
    rounds: list[Figures] = field(default_factory=list)
    failure: str | None = None

    def disturbed(self) -> int:
        """How many of the rounds were disturbed, each time they were tried."""
        return sum(not quiet(figures) for figures in self.rounds)

    def samples(self, column: Column) -> list[float]:
        return [figures[column.key] for figures in self.rounds]

    def value(self, column: Column) -> float:
        return column.summary(self.samples(column))

    def spread(self, column: Column) -> float:
        """How far apart the rounds were: (largest - smallest) / median."""
        samples = self.samples(column)
        return (max(samples) - min(samples)) / (statistics.median(samples) or 1.0)


def quiet(figures: Figures) -> bool:
    return figures.get("waited", 0.0) <= QUIET


def undisturbed(bench: Bench, cell: Cell, name: str, work: Workload) -> Figures:
    """The first quiet round of ATTEMPTS, or the quietest of them."""
    tried: list[Figures] = []
    while len(tried) < ATTEMPTS:
        tried.append(cell.measure(bench, name, work))
        if quiet(tried[-1]):
            return tried[-1]
    return min(tried, key=lambda figures: figures["waited"])


def rotated(loops: Sequence[str], number: int) -> list[str]:
    """Another loop begins each round: none has always the same one before it."""
    start = number % max(len(loops), 1)
    return [*loops[start:], *loops[:start]]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compare(
    bench: Bench, cell: Cell, loops: Sequence[str], work: Workload, rounds: int, report: Callable[[str], None] = say
) -> list[Result]:
    """``rounds`` rounds of the cell with each loop; results in the order of ``loops``.

    A loop that fails takes no further part.
    """
    results = {name: Result(name) for name in loops if cell.includes(name)}
    for number in range(rounds):
        for name in rotated(list(results), number):
            result = results[name]
            if result.failure is not None:
                continue
            try:
                figures = undisturbed(bench, cell, name, work)
            except PermissionError:  # of --nice: no loop can help it
                raise
            # Not only what was foreseen: a server that is gone has no memory to read, and one may print what it likes.
            except (MeasurementError, RuntimeError, OSError, ValueError, ArithmeticError) as failed:
                result.failure = str(failed) or type(failed).__name__
                report(f"{cell.name}: {name} failed: {failed}")
                continue
            result.rounds.append(figures)
            first = cell.columns[0]
            shown = f"{figures[first.key]:.{first.digits}f} {first.heading}" + ("" if quiet(figures) else ", disturbed")
            report(f"{cell.name} {number + 1}/{rounds}: {name:<20} {shown}")
    return list(results.values())
