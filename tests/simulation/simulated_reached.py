"""Which lines of edgeloop a campaign must have reached: those that every campaign has when the list was written.

``python tests/simulation/simulated_reached.py`` writes the list, ``reached.txt``, after eight campaigns of 1500 runs.
A line that is no longer in the source is not asked for, nor is a new one before the list is written again. Lines belong to
a Python: another one divides a statement in another way.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulated_processes import answer, start

LIST = Path(__file__).with_name("reached.txt")
HEAD = "# Python "
CAMPAIGNS = 8
RUNS = 1500


def missing_lines(results: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of the list that none of these campaigns has reached."""
    head, *wanted = LIST.read_text().splitlines()
    if head != HEAD + "{}.{}".format(*sys.version_info):
        return []
    missing = set(wanted)
    for result in results:
        missing &= set(result["missing"])
    return sorted(missing)


def write() -> None:
    """Write the list."""
    common: set[str] | None = None
    for number in range(0, CAMPAIGNS, 2):
        for process in [start("--schedules", RUNS, "--seed", 10**6 * (number + half)) for half in (1, 2)]:
            result = answer(process)
            assert "wrong" not in result, result["wrong"]
            reached = set(result["reached"]) - set(result["missing"])
            common = reached if common is None else common & reached
    LIST.write_text("\n".join([HEAD + "{}.{}".format(*sys.version_info), *sorted(common or ())]) + "\n")


if __name__ == "__main__":
    write()
