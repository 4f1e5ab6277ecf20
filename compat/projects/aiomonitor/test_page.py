"""What stands on docs/projects/aiomonitor.md, run as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import edgeloop_compat_pages as pages


def test_program(tmp_path: Path) -> None:
    (tmp_path / "monitored.py").write_text(pages.program("monitored.py"))
    done = subprocess.run([sys.executable, "monitored.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("<class 'edgeloop.loop.EventLoop'>\n"), done.stdout + done.stderr
