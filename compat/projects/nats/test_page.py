"""What stands on NATS' page, run as it stands there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgeloop_compat_pages import command, program
from nats_service import NatsServer


def test_program(tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text(program("shout.py"))
    with NatsServer() as server:
        words = [word.replace("4222", str(server.port)) for word in command("python shout.py")]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["<class 'edgeloop.loop.EventLoop'>", "NATS IS HERE", "100"]
