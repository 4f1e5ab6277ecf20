"""What stands on the page of websockets, run as it stands there."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

from edgeloop_compat_pages import program


def test_server_and_client(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    for name in ("echo_server.py", "client.py"):
        (tmp_path / name).write_text(program(name).replace("8080", port))
    server = subprocess.Popen([sys.executable, "echo_server.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready <class 'edgeloop.loop.EventLoop'>\n"
        done = subprocess.run([sys.executable, "client.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello <class 'edgeloop.loop.EventLoop'>\n", "")
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.communicate()
