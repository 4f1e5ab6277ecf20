"""Why a mutant may survive: for a mutant's name, or for all that change one line (its name up to the arrow).

Each begins with the kind: "equivalent" changes nothing that can be seen; "cost" does the same with more work, or later by
what no test asserts; "figures" changes a number that is only approximate; "wording" changes text.
"""

from __future__ import annotations

from collections import Counter

KINDS = ("equivalent", "cost", "figures", "wording")

REASONS: dict[str, dict[str, str]] = {}


def reason(module: str, name: str) -> str:
    """Return why this mutant may live, or nothing."""
    reasons = REASONS.get(module, {})
    return reasons.get(name) or reasons.get(name.partition(" => ")[0], "")


def kinds(module: str, names: list[str]) -> Counter[str]:
    """Return how many survivors there are of each kind; "open" are those without a reason."""
    return Counter(reason(module, name).partition(":")[0] or "open" for name in names)
