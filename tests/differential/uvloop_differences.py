"""Where uvloop alone differs from asyncio and edgeloop: by name, so that the campaign can count them."""

from __future__ import annotations

import json
import re
from typing import Any

#: A name, and a regular expression for "step | what asyncio did | what uvloop did".
RULES: tuple[tuple[str, str], ...] = ()


def rule_of(step: Any, asyncio_did: Any, uvloop_did: Any) -> str:
    """The name of the first rule that covers a difference."""
    what = " | ".join(json.dumps(part) for part in (step, asyncio_did, uvloop_did))
    return next((name for name, pattern in RULES if re.search(pattern, what)), "not named")
