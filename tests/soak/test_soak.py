"""That the soak run works: what it is for takes longer, see ``make soak``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_a_second_of_everything_leaves_nothing_behind(pytestconfig: pytest.Config) -> None:
    loop = pytestconfig.getoption("--loop")
    done = subprocess.run(
        [sys.executable, str(HERE / "soak.py"), "--seconds", "1", "--loop", str(loop)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "flat, and nothing left behind" in done.stdout
    assert not done.stderr
