"""Static pages can be measured: how many there are takes a machine with nothing else to do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from repository import ROOT

import edgeloop

pytestmark = pytest.mark.edgeloop_only


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk makes the load, and is not installed")
def test_a_round_of_static_pages_is_measured() -> None:
    name = "static_pages.py" if edgeloop.EDITION == "compiled" else "static_pages.py, pure edition"
    names = f"{name}; aiohttp on asyncio"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.pages", "--servers", names, "--rounds", "1", "--seconds", "1", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found = json.loads(done.stdout)["servers"]
    assert set(found) == set(names.split("; "))
    assert all(rate > 0 and cost > 0 for ((rate, cost),) in found.values())
