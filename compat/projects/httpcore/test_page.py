"""What stands on httpx's page about httpcore, run as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgeloop_compat_pages import command, program
from pytest_httpbin.serve import Server


def test_pool(tmp_path: Path, httpbin: Server) -> None:
    (tmp_path / "pool.py").write_text(program("pool.py"))
    python, *arguments = [
        word.replace("http://127.0.0.1:8080/", f"{httpbin.url}/base64/aGVsbG8=") for word in command("python pool.py")
    ]
    assert python == "python"
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "200 b'hello' <class 'edgeloop.loop.EventLoop'>\n", "")
