"""Whether the environment asks for the pure edition. setup.py runs this file too, so it imports nothing of the package."""

from __future__ import annotations

import os
from collections.abc import Mapping

YES = {"1", "true", "yes", "on"}
NO = {"", "0", "false", "no", "off"}


def is_asked_for(environment: Mapping[str, str] = os.environ) -> bool:
    """Return True if ``EDGELOOP_PURE`` asks for the pure edition. Raise ValueError if it says neither yes nor no."""
    value = environment.get("EDGELOOP_PURE", "")
    word = value.strip().lower()
    if word in YES:
        return True
    if word in NO:
        return False
    raise ValueError(
        f"EDGELOOP_PURE={value!r} in the environment says neither yes ({', '.join(sorted(YES))}) "
        f"nor no ({', '.join(sorted(NO - {''}))}, or nothing)"
    )
