"""What stands on docs/projects/twisted.md, run as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import edgeloop_compat_pages as pages


def test_program_on_the_asyncio_reactor(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(pages.program("program.py"))
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "<class 'edgeloop.loop.EventLoop'>\n"
