"""What stands on httpx's page, run as it stands there."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from edgeloop_compat_pages import command, program


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def says(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_get(tmp_path: Path, port: int) -> None:
    (tmp_path / "get.py").write_text(program("get.py"))
    python, *arguments = [word.replace("8080", str(port)) for word in command("python get.py")]
    assert python == "python"
    assert says(tmp_path, *arguments) == "{200} <class 'edgeloop.loop.EventLoop'>\n"


def test_asgi(tmp_path: Path) -> None:
    (tmp_path / "asgi.py").write_text(program("asgi.py"))
    assert says(tmp_path, "asgi.py") == "<class 'edgeloop.loop.EventLoop'>\n"
