"""Why a mutant may survive."""

from __future__ import annotations

REASONS: dict[str, dict[str, str]] = {}


def reason(module: str, name: str) -> str:
    """Return why this mutant may live, or nothing."""
    return REASONS.get(module, {}).get(name, "")
