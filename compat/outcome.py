"""How one test ended."""

from __future__ import annotations

from dataclasses import dataclass

#: How a test can end. The first is the only good one.
OUTCOMES = ("passed", "failed", "error", "skipped", "hang", "crash")


@dataclass(frozen=True)
class Outcome:
    """How one test ended: one of OUTCOMES, the exception's last line, the suite's line, and how long it took."""

    outcome: str
    reason: str = ""
    where: str = ""
    seconds: float = 0.0
