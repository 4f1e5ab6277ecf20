"""Prints the table of tests/README.md from results.json: ``python tests/mutants/table.py``."""

from __future__ import annotations

import json
from pathlib import Path

from reasons import KINDS, kinds

RESULTS = Path(__file__).parent / "results.json"
COLUMNS = ("module", "mutants", "tried", "killed", "of them by a hang", "survivors", *KINDS, "open", "date")


def table() -> list[str]:
    """Return the lines, one for each module that has results, and the sum."""
    results = json.loads(RESULTS.read_text())
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    total = [0] * (len(COLUMNS) - 2)
    for module, result in sorted(results.items()):
        found = kinds(module, result["survivors"])
        numbers = [
            result["mutants"],
            result["tried"],
            result["killed"],
            result["hung"],
            len(result["survivors"]),
            *(found[kind] for kind in (*KINDS, "open")),
        ]
        total = [one + other for one, other in zip(total, numbers, strict=True)]
        lines.append(f"| `{module}` | {' | '.join(map(str, numbers))} | {result['date']} |")
    lines.append(f"| | {' | '.join(map(str, total))} | |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
