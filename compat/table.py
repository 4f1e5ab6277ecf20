"""The table in ``compat/README.md``: a line for each project, Python and edition, as the last run found it.

Below it stand the reasons, as footnotes, and above it the sum.
"""

from __future__ import annotations

import fcntl
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

README = Path(__file__).with_name("README.md")

_BEGIN = "<!-- The table: written by python -m compat NAME --write -->\n"
_END = "<!-- End of the table -->\n"
_HEAD = "| project | version | Python | edition | tests | control passes | of these, edgeloop | differences | date |"


@dataclass(frozen=True)
class Row:
    """One line: counts of tests, of those the control passes, and of these the ones that pass on edgeloop.

    ``differences`` has "2: why" for two tests, "left out `tests/x.py`: why", or what has no reason: "1 FAILED".
    """

    project: str
    version: str
    python: str
    edition: str
    tests: int
    control: int
    edgeloop: int
    differences: tuple[str, ...]
    date: str

    @property
    def key(self) -> tuple[str, ...]:
        """What the line is about; the table is in this order."""
        return self.project, self.python, self.edition


class _Footnotes:
    """The reasons of all lines; the same one has the same number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def cell(self, differences: tuple[str, ...]) -> str:
        """What stands in the line: how many tests, and where the reason is."""
        parts: dict[str, str] = {}
        for number, difference in enumerate(differences):
            if found := re.fullmatch(r"(\d+): (.+)", difference):
                parts[f"{number}"] = found[1] + self._mark(found[2])
            elif found := re.fullmatch(r"left out (.+)", difference):
                parts["left out"] = parts.get("left out", "left out") + self._mark(found[1])
            else:
                parts[f"{number}"] = difference
        return ", ".join(parts.values()) or "none"

    def _mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f"[^{self.texts.index(text) + 1}]"

    def differences(self, cell: str) -> tuple[str, ...]:
        """The opposite of ``cell``."""
        parts: list[str] = []
        for part in [] if cell == "none" else cell.split(", "):
            what = part.partition("[^")[0]
            notes = [self.texts[int(number) - 1] for number in re.findall(r"\[\^(\d+)\]", part)]
            parts += [f"{what} {note}" if what == "left out" else f"{what}: {note}" for note in notes] or [part]
        return tuple(parts)


def read(text: str) -> list[Row]:
    """The lines of a page's table."""
    notes = _Footnotes()
    notes.texts = re.findall(r"^\[\^\d+\]: (.+)$", text, re.MULTILINE)
    table = text.partition(_BEGIN)[2].partition(_END)[0]
    rows = []
    for line in table.splitlines():
        if line.startswith("| ") and not line.startswith((_HEAD, "| ---")):
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            project, version, python, edition, tests, control, ours, differences, date = cells
            counts = int(tests), int(control), int(ours)
            rows.append(Row(project, version, python, edition, *counts, notes.differences(differences), date))
    return rows


def summed(rows: list[Row]) -> str:
    """Say in a sentence what the compiled edition passes: each project once, on the newest Python that it was run on."""
    newest: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: [int(number) for number in row.python.split(".")]):
        if row.edition == "compiled":
            newest[row.project] = row
    # aiohttp-aiofastnet runs aiohttp's tests once more.
    again = {row.project for row in newest.values() for other in newest.values() if _repeats(row, other)}
    chosen = [row for row in newest.values() if row.project not in again]
    control, ours = sum(row.control for row in chosen), sum(row.edgeloop for row in chosen)
    rest = {1: "one is", 0: "none is"}.get(control - ours, f"{control - ours} are")
    return (
        f"{len(chosen)} suites: {control:,} tests pass on asyncio, {ours:,} of them on edgeloop; {rest} explained below"
    )


def _repeats(row: Row, other: Row) -> bool:
    return row.project.startswith(other.project + "-") and row.version == other.version


def _written(rows: list[Row]) -> str:
    notes = _Footnotes()
    lines = [_HEAD, "| --- " * len(fields(Row)) + "|"]
    for row in sorted(rows, key=lambda row: row.key):
        shown = replace(row, differences=(notes.cell(row.differences),))
        cells = [value[0] if isinstance(value, tuple) else str(value) for value in vars(shown).values()]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    reasons = [f"[^{number}]: {text}" for number, text in enumerate(notes.texts, 1)]
    return "\n".join([f"**{summed(rows)}.**", "", *lines, "", *reasons, ""])


def write(row: Row, page: Path = README) -> None:
    """Put ``row`` in its place, instead of the line about the same project, Python and edition."""
    with open(page, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        before, begin, rest = text.partition(_BEGIN)
        _, end, after = rest.partition(_END)
        if not begin or not end:
            raise ValueError(f"{page} has no place for the table")
        rows = [other for other in read(text) if other.key != row.key]
        file.seek(0)
        file.write(before + begin + _written([*rows, row]) + end + after)
        file.truncate()
