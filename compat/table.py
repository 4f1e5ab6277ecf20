"""The table in ``compat/README.md``: a line for each project, Python and edition, as the last run found it."""

from __future__ import annotations

import fcntl
from dataclasses import astuple, dataclass
from pathlib import Path

README = Path(__file__).with_name("README.md")

_BEGIN = "<!-- The table: written by python -m compat NAME --write -->\n"
_END = "<!-- End of the table -->\n"
_HEAD = "| project | version | Python | edition | tests | control passes | of these, edgeloop | differences and why | date |"


@dataclass(frozen=True)
class Row:
    """One line: counts of tests, of those the control passes, and of these the ones that pass on edgeloop."""

    project: str
    version: str
    python: str
    edition: str
    tests: int
    control: int
    edgeloop: int
    differences: str
    date: str

    @property
    def key(self) -> tuple[str, ...]:
        """What the line is about; the table is in this order."""
        return self.project, self.python, self.edition

    def text(self) -> str:
        """The line as it stands in the page."""
        return "| " + " | ".join(str(value).replace("|", "\\|").replace("\n", " ") for value in astuple(self)) + " |"


def write(row: Row, page: Path = README) -> None:
    """Put ``row`` in its place, instead of the line about the same project, Python and edition."""
    with open(page, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before, begin, rest = file.read().partition(_BEGIN)
        old, end, after = rest.partition(_END)
        if not begin or not end:
            raise ValueError(f"{page} has no place for the table")
        rows = {
            _key(line): line
            for line in old.splitlines()
            if line.startswith("| ") and not line.startswith((_HEAD, "| ---"))
        }
        rows[row.key] = row.text()
        lines = [_HEAD, "| --- " * 9 + "|", *(rows[key] for key in sorted(rows))]
        file.seek(0)
        file.write(before + begin + "\n".join(lines) + "\n" + end + after)
        file.truncate()


def _key(line: str) -> tuple[str, ...]:
    project, _, python, edition = [cell.strip() for cell in line.split("|")[1:5]]
    return project, python, edition
