"""What the campaign has found and what is not mended yet, each with the reason. None at present."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A fault: where it shows, each field a regular expression, and why it is there."""

    scenario: str
    call: str
    fault: str
    wrong: str
    reason: str

    def covers(self, scenario: str, call: str, fault: str | None, wrong: str) -> bool:
        """Whether this is it. A run that hung or crashed can't say which fault it had."""
        return bool(
            re.fullmatch(self.scenario, scenario)
            and re.fullmatch(self.call, call)
            and (fault is None or re.fullmatch(self.fault, fault))
            and re.search(self.wrong, wrong)
        )


KNOWN: tuple[Known, ...] = ()
