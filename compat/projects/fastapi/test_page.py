"""What stands on docs/projects/fastapi.md, run as it stands there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import edgeloop_compat_pages as pages
from websockets.sync.client import connect
from workers import page
from workers.served import Served


def test_command(tmp_path: Path) -> None:
    page.serves(tmp_path, "uvicorn --loop edgeloop:new_event_loop --port", "app.py", workers=1, use=use)


def use(server: Served) -> None:
    """The streamed answer and the WebSocket."""
    connection = server.connect()
    connection.request("GET", "/ticks?count=20")
    answer = connection.getresponse()
    assert [json.loads(line)["number"] for line in answer] == list(range(20))
    connection.close()
    with connect(f"ws://127.0.0.1:{server.port}/echo") as socket:
        for text in ("hello", "grüße", "x" * 500_000):
            socket.send(text)
            assert socket.recv() == text


def test_several_workers(tmp_path: Path) -> None:
    page.serves(tmp_path, "uvicorn --loop edgeloop:new_event_loop --workers", "app.py")


def test_gunicorn(tmp_path: Path) -> None:
    page.serves(tmp_path, "gunicorn", "app.py", workers=1, use=use)


def test_program(tmp_path: Path) -> None:
    page.serves(tmp_path, "serve.py", "app.py", "serve.py", workers=1)


def test_test_client(tmp_path: Path) -> None:
    for name in ("app.py", "test_app.py"):
        (tmp_path / name).write_text(pages.program(name))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        "--rootdir",
        str(tmp_path),
        "test_app.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
