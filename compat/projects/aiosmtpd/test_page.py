"""What stands on docs/projects/aiosmtpd.md, run as it stands there."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import edgeloop_compat_pages as pages


def test_program(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = str(one.getsockname()[1])
    (tmp_path / "mail.py").write_text(pages.program("mail.py").replace("8025", port))
    done = subprocess.run([sys.executable, "mail.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("<class 'edgeloop.loop.EventLoop'>\n"), done.stdout + done.stderr
