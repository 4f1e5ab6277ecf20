"""Whatever is played again and again leaves nothing behind: no object, no block of memory, no reference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kernel_truth import needs_own_allocator
from repository import ROOT, SUPPORT

pytestmark = pytest.mark.edgeloop_only  # asyncio's loop passes too, but nobody here could mend it

HERE = Path(__file__).parent


def hunted(*arguments: str) -> list[dict[str, Any]]:
    """What hunt.py says of each scenario."""
    paths = [str(HERE), str(ROOT / "tests" / "weather"), str(SUPPORT), str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(HERE / "hunt.py"), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


#: ``make leaks`` (LEAKS=whole) plays all of them, more often. Those with TLS and processes take long to come to rest.
WHOLE = os.environ.get("LEAKS") == "whole"
SOME = (
    "tcp_echo",
    "end_of_stream",
    "accept",
    "streams",
    "datagrams",
    "readers",
    "raising_callbacks",
    "resets",
    "given_up",
)


def test_nothing_is_left_behind_by_what_is_played_again() -> None:
    found = hunted() if WHOLE else hunted("--plays", "1", *SOME)
    assert len(found) >= len(SOME)
    assert [answer for answer in found if answer["leaks"]] == []


def test_the_hunt_notices_objects_that_are_left_behind() -> None:
    (answer,) = hunted("--batches", "5", "leaky_objects")
    assert "objects" in answer["leaks"], answer


@needs_own_allocator
def test_the_hunt_notices_memory_that_is_left_behind() -> None:
    (answer,) = hunted("--batches", "5", "leaky_memory")
    assert "malloc" in answer["leaks"], answer
