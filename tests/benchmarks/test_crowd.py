"""That many connections can be measured: what they cost takes a machine with nothing else to do."""

from __future__ import annotations

import json
import subprocess
import sys

from repository import ROOT


def test_a_small_crowd_is_measured() -> None:
    arguments = ("--loops", "asyncio", "--connections", "70", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crowd", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    ((name, figures),) = json.loads(done.stdout)
    assert name == "asyncio"
    assert figures["connections"] == 70
    assert min(figures["accept"], figures["echo"], figures["broadcast"]) > 0
