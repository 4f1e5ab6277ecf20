"""What stands on docs/projects/starlette.md, run as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import edgeloop_compat_pages as pages
from websockets.sync.client import connect
from workers import page
from workers.served import Served


def use(server: Served) -> None:
    """The file and the WebSocket."""
    connection = server.connect()
    connection.request("GET", "/source")
    assert b"Starlette(routes=" in connection.getresponse().read()
    connection.close()
    with connect(f"ws://127.0.0.1:{server.port}/echo") as socket:
        for text in ("hello", "grüße", "x" * 500_000):
            socket.send(text)
            assert socket.recv() == text


def test_command(tmp_path: Path) -> None:
    page.serves(tmp_path, "uvicorn --loop", "app.py", workers=1, use=use)


def test_test_client(tmp_path: Path) -> None:
    for name in ("app.py", "test_app.py"):
        (tmp_path / name).write_text(pages.program(name))
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "--rootdir", ".", "test_app.py")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
