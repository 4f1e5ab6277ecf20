"""What stands on RabbitMQ's page, run as it stands there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgeloop_compat_pages import command, program
from rabbitmq_service import RabbitServer


def test_program(server: RabbitServer, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(program("jobs.py"))
    words = [word.replace("5672", str(server.port)) for word in command("python jobs.py")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["<class 'edgeloop.loop.EventLoop'>", "4950"]
