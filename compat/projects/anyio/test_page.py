"""What stands on anyio's page, run as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from edgeloop_compat_pages import program


@pytest.mark.parametrize(
    ("name", "says"),
    [("echo.py", "b'hello'\n"), ("portal.py", "<class 'edgeloop.loop.EventLoop'>\n"), ("child.py", "b'hello\\n'\n")],
)
def test_program(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(program(name))
    done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, says, "")
