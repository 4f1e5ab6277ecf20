"""A whole comparison as a document: what is kept as JSON, and the Markdown page that is made of it.

The document has the figures of every round, so that page and charts can be made again without measuring.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.loops import LIMIT
from benchmarks.table import shortened

OURS = "edgeloop"
#: What isn't a peer: the limit, and whatever edgeloop runs in.
NOT_PEERS = (LIMIT, OURS, "edgeloop-pure", "aiofastnet+edgeloop")
DASH = "-"

Document = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One figure of one cell, for all loops: ``samples`` by loop, without those that failed or were not asked."""

    cell: str
    title: str
    key: str
    heading: str
    digits: int
    compared: bool
    counted: bool
    pooled: bool
    samples: dict[str, list[float]]
    awaited: bool = False

    def value(self, loop: str) -> float | None:
        found = self.samples.get(loop)
        if not found:
            return None
        return statistics.fmean(found) if self.pooled else statistics.median(found)

    def shown(self, loop: str) -> str:
        """The value, with half the distance between the largest and the smallest round in percent of it."""
        value = self.value(loop)
        if value is None:
            return DASH
        text = f"{value:,.{self.digits}f}"
        samples = self.samples[loop]
        if len(samples) > 1 and value and not self.pooled:
            text += f" ±{50 * (max(samples) - min(samples)) / value:.0f}"
        return text

    def best_peer(self) -> str | None:
        values = {loop: self.value(loop) for loop in self.samples if loop not in NOT_PEERS}
        there = {loop: value for loop, value in values.items() if value is not None}
        return min(there, key=there.__getitem__) if there else None

    def ratio(self, one: str, other: str) -> float | None:
        first, second = self.value(one), self.value(other)
        return first / second if first and second else None

    def best_ratio(self) -> float | None:
        """edgeloop over the best peer."""
        best = self.best_peer()
        return self.ratio(OURS, best) if best else None

    def fastest_ratio(self) -> float | None:
        """edgeloop's fastest round over the fastest of any peer: other work on the machine only ever adds to a round."""
        ours = self.samples.get(OURS)
        peers = [min(found) for loop, found in self.samples.items() if found and loop not in NOT_PEERS]
        if self.pooled or not ours or not peers or not min(peers):
            return None
        return min(ours) / min(peers)


def replaced(kept: Document, newer: Document) -> Document:
    """``kept`` with the cells of ``newer`` in the place of its own. They say when, and of which edgeloop."""
    again = {
        name: {**cell, "again": f"{newer['date']}, {newer['rounds']} rounds, edgeloop at {newer['commit']}"}
        for name, cell in newer["cells"].items()
    }
    return {**kept, "cells": {**kept["cells"], **again}}


def measured_again(document: Document) -> list[str]:
    when: dict[str, list[str]] = {}
    for name, cell in document["cells"].items():
        if "again" in cell:
            when.setdefault(cell["again"], []).append(f"`{name}`")
    return [f"measured again, {facts}: {', '.join(names)}" for facts, names in when.items()]


def rows(document: Document) -> Iterator[Row]:
    for name, cell in document["cells"].items():
        sound = {loop: found["samples"] for loop, found in cell["loops"].items() if found["failure"] is None}
        for column in cell["columns"]:
            samples = {loop: figures[column["key"]] for loop, figures in sound.items()}
            yield Row(name, cell["title"], **column, samples=samples)


def mean_ratio(found: Sequence[Row], one: str, other: str) -> tuple[float | None, int]:
    """The geometric mean of one loop's CPU time over the other's, and of how many cells."""
    return mean(found, lambda row: row.ratio(one, other))


def mean(found: Sequence[Row], ratio_of: Callable[[Row], float | None]) -> tuple[float | None, int]:
    """The geometric mean of what ``ratio_of`` says of the CPU times, and of how many cells.

    Each cell counts once, whether it has one figure or four.
    """
    logarithms: dict[str, list[float]] = {}
    for row in found:
        ratio = ratio_of(row) if row.counted else None
        if ratio is not None:
            logarithms.setdefault(row.cell, []).append(math.log(ratio))
    if not logarithms:
        return None, 0
    return math.exp(statistics.fmean(map(statistics.fmean, logarithms.values()))), len(logarithms)


def interpreter(document: Document) -> str:
    """Return its name and the version of Python that it is."""
    return f"{document.get('implementation', 'CPython')} {document['python']}"  # older documents know of one only


def markdown(document: Document) -> list[str]:
    found = list(rows(document))
    loops = list(document["loops"])
    return [
        f"# Event loops compared, {document['date'][:10]}, {interpreter(document)}",
        "",
        "Written by `python -m benchmarks`; `benchmarks/README.md` says what happens in each cell and how it is measured.",
        "Medians of the rounds; ± is half the distance between the largest and the smallest round, in percent; the best",
        f"loop of a row is bold. {DASH} is a loop that failed, or that the cell has no use for: see below. The last column is",
        "edgeloop's fastest round over the fastest of any peer: what else goes on on the machine only ever adds to a round.",
        "",
        *(f"- {fact}" for fact in facts(document)),
        "",
        "## CPU time of the measured process for each operation",
        "",
        *comparison([row for row in found if row.counted], loops),
        "",
        "## All cells together",
        "",
        *together(found, loops),
        "",
        "## What a peer waits for",
        "",
        "Times to the answer; what one item of a flood takes stands with the pings that wait beside it.",
        "",
        *comparison([row for row in found if row.awaited], loops),
        "",
        "## Time, memory, fairness",
        "",
        *comparison([row for row in found if row.compared and not row.counted and not row.awaited], loops),
        "",
        "## Throughput, and what else was counted",
        "",
        "In `busy %`, well below 100 means that not the loop was the limit of the throughput.",
        "",
        *plain([row for row in found if not row.compared and not row.pooled], loops),
        "",
        "## What the rows are",
        "",
        *legend(document),
        "",
        "## What is missing, and why",
        "",
        *missing(document),
        "",
    ]


def facts(document: Document) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in document["loops"].items())
    return [
        f"{document['date']}, {interpreter(document)}, {document['machine']}",
        f"edgeloop at {document['commit']}",
        f"{document['rounds']} rounds of {document['seconds']:g} s, interleaved; server on one core, load on another",
        f"loops: {versions}",
        *([f"packages: {document['packages']}"] if document.get("packages") else []),
        *measured_again(document),
    ]


def comparison(found: Sequence[Row], loops: Sequence[str]) -> list[str]:
    lines = [heading([*loops, "best peer", "edgeloop / best peer", "fastest rounds"])]
    lines.append("| --- |" + " ---: |" * (len(loops) + 3))
    for row in found:
        best = row.best_peer()
        values = {loop: row.value(loop) for loop in loops if loop != LIMIT and row.value(loop) is not None}
        least = min(values, key=lambda loop: values[loop] or 0.0) if values else None
        cells = [f"**{row.shown(loop)}**" if loop == least else row.shown(loop) for loop in loops]
        cells += [
            best or DASH,
            *(DASH if ratio is None else f"{ratio:.2f}" for ratio in (row.best_ratio(), row.fastest_ratio())),
        ]
        lines.append(f"| {label(row)} | " + " | ".join(cells) + " |")
    return lines


def plain(found: Sequence[Row], loops: Sequence[str]) -> list[str]:
    lines = [heading(loops), "| --- |" + " ---: |" * len(loops)]
    for row in found:
        values = [row.value(loop) for loop in loops]
        cells = [DASH if value is None else f"{value:,.{row.digits}f}" for value in values]
        lines.append(f"| {label(row)} | " + " | ".join(cells) + " |")
    return lines


def heading(names: Sequence[str]) -> str:
    return "| | " + " | ".join(names) + " |"


def label(row: Row) -> str:
    return f"`{row.cell}` {row.heading}"


def together(found: Sequence[Row], loops: Sequence[str]) -> list[str]:
    against_best, cells = mean(found, Row.best_ratio)
    fastest, _ = mean(found, Row.fastest_ratio)
    lines = [
        "Geometric means over the cells of the first table, each cell counting once; a loop is compared in the cells that",
        "both it and edgeloop finished.",
        "",
        "| | CPU time over edgeloop's | cells |",
        "| --- | ---: | ---: |",
    ]
    for loop in loops:
        ratio, shared = mean_ratio(found, loop, OURS)
        lines.append(f"| {loop} | {DASH if ratio is None else f'{ratio:.2f}'} | {shared} |")
    if against_best is not None:
        lines += ["", f"edgeloop over the best peer of each row: {against_best:.2f} ({cells} cells)."]
    if fastest is not None:
        lines[-1] += f" Of the fastest rounds: {fastest:.2f}."
    return lines


def legend(document: Document) -> list[str]:
    lines = ["| cell | what happens | connections | bytes |", "| --- | --- | ---: | ---: |"]
    for name, cell in document["cells"].items():
        connections, size = (f"{cell[key]:,}" if cell[key] else "" for key in ("connections", "size"))
        lines.append(f"| `{name}` | {cell['title']} | {connections} | {size} |")
    return lines


def missing(document: Document) -> list[str]:
    lines = [f"- {name}: {reason}" for name, reason in document["missing"].items()]
    for name, cell in document["cells"].items():
        for loop, found in cell["loops"].items():
            if found["failure"] is not None:
                lines.append(f"- `{name}`, {loop}: {shortened(found['failure'])}")
        disturbed = {loop: found["disturbed"] for loop, found in cell["loops"].items() if found["disturbed"]}
        if disturbed:
            named = ", ".join(f"{loop} {count}" for loop, count in disturbed.items())
            lines.append(f"- `{name}`, rounds that other programs disturbed each time they were tried: {named}")
    lines.append(f"- The C limit and aiofastnet's rows are there only where they make a difference ({DASH} elsewhere).")
    return lines
