"""Which statements of edgeloop a campaign must have reached: those that every campaign has when the list was written.

``python tests/simulation/simulated_reached.py`` writes the list, ``reached.txt``, after eight campaigns of 1500 runs, and
prints what has happened in them, what is seldom first. A statement that is no longer in the source is not asked for, nor is
a new one before the list is written again.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulated_processes import answer, start
from simulated_weather import SELDOM, SOMETIMES

LIST = Path(__file__).with_name("reached.txt")
CAMPAIGNS = 8
# What each of these reaches, the two processes of the tests reach for certain: they play eight times as many runs.
RUNS = 1500
BRANCHES = 75
ENOUGH = 12000  # in so many runs everything has happened that is not rare
ENOUGH_FOR_ALL = 500000
#: Python 3.11 has no sys.monitoring: nothing is known there.
IS_KNOWN = sys.version_info >= (3, 12)
#: Of a condition that was false once. The list was tried on 3.12 and 3.13: from 3.14 on branches are other events.
NO = " -> no"


def missing_statements(results: Sequence[dict[str, Any]]) -> list[str]:
    """The statements of the list that none of these campaigns has reached."""
    if not IS_KNOWN:
        return []
    missing = {name for name in LIST.read_text().splitlines() if sys.version_info < (3, 14) or not name.endswith(NO)}
    for result in results:
        missing &= set(result["missing"])
    return sorted(missing)


def shortfalls(results: Sequence[dict[str, Any]]) -> list[str]:
    """What these campaigns should have met, and have not; nothing if they are too short to say."""
    played = sum(result["schedules"] for result in results)
    if played < ENOUGH:
        return []
    wanted = SOMETIMES | SELDOM if played >= ENOUGH_FOR_ALL else SOMETIMES
    never = sorted(wanted.difference(*(result["seen"] for result in results)))
    return [
        *(f"never happened: {what}" for what in never),
        *(f"never reached: {statement}" for statement in missing_statements(results)),
    ]


def write() -> None:
    """Write the list."""
    common: set[str] | None = None
    seen: Counter[str] = Counter()
    for number in range(0, CAMPAIGNS, 2):
        for process in [
            start("--schedules", RUNS, "--branches", BRANCHES, "--seed", 10**6 * (number + half)) for half in (1, 2)
        ]:
            result = answer(process)
            assert "wrong" not in result, result["wrong"]
            reached = set(result["reached"])
            seen.update(result["seen"])
            common = reached if common is None else common & reached
    LIST.write_text("\n".join(sorted(common or ())) + "\n")
    for name, count in reversed(seen.most_common()):
        print(f"{count:8} of {CAMPAIGNS * RUNS} runs: {name}")


if __name__ == "__main__":
    assert IS_KNOWN, "the list is written by a Python that has sys.monitoring"
    write()
