"""The programs on aiohttp's page, as they stand there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgeloop_compat_pages import command, program

LOOP = "<class 'edgeloop.loop.EventLoop'>"


def output(directory: Path, *arguments: str) -> str:
    done = subprocess.run(arguments, cwd=directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_runner(tmp_path: Path) -> None:
    (tmp_path / "aiohttp_runner.py").write_text(program("aiohttp_runner.py"))
    assert output(tmp_path, sys.executable, "aiohttp_runner.py") == f"hello from {LOOP}\n"


def test_a_test(tmp_path: Path) -> None:
    for name in ("conftest.py", "test_hello.py"):
        (tmp_path / name).write_text(program(name))
    assert "1 passed" in output(tmp_path, *command("pytest test_hello.py"))
