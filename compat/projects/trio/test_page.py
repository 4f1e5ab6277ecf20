"""What stands on trio's page, run as it stands there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from edgeloop_compat_pages import program


@pytest.fixture
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / request.param
    file.write_text(program(request.param))
    return file


@pytest.mark.parametrize("script", ["both.py"], indirect=True)
def test_both_sides(script: Path) -> None:
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO, TRIO\n", "")


@pytest.mark.parametrize("script", ["ctrl_c.py"], indirect=True)
def test_ctrl_c(script: Path) -> None:
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "trio sleeps\n"
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (said, complaints) == ("trio cleans up\ngoodbye\n", "")
