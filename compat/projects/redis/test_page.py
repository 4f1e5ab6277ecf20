"""What stands on the page of redis-py, run as it stands there."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from edgeloop_compat_pages import command, program
from redis_service import RedisWithTLS


def test_program(own_server: RedisWithTLS, tmp_path: Path) -> None:
    (tmp_path / "news.py").write_text(program("news.py"))
    words = [own_server.url if word.startswith("redis://") else word for word in command("python news.py")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["<class 'edgeloop.loop.EventLoop'>", "hello", "1000", "redis is here"]


def test_program_that_outlives_a_restart(own_server: RedisWithTLS, tmp_path: Path) -> None:
    (tmp_path / "patient.py").write_text(program("patient.py"))
    words = ["python", "patient.py", own_server.url]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(0.5)  # somewhere in its second
        own_server.stop()
        own_server.start()
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "49\n", "")
