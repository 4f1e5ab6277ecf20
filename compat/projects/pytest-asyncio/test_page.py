"""What stands on pytest-asyncio's page, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from edgeloop_compat_pages import command, program


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for name in ("conftest.py", "test_both.py"):
        (tmp_path / name).write_text(program(name))
    return tmp_path


def passed(suite: Path, line: str) -> list[str]:
    """The names of the tests that the command says have passed; all must."""
    environment = {name: value for name, value in os.environ.items() if name != "EDGELOOP_COMPAT_LOOP"}
    done = subprocess.run(
        [sys.executable, "-m", *command(line)], cwd=suite, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"::(\S+) PASSED", done.stdout)


NAMES = ["test_echo[asyncio]", "test_echo[edgeloop]", "test_that_needs_edgeloop"]


def test_both_loops(suite: Path) -> None:
    assert passed(suite, "pytest -v test_both.py") == NAMES


def test_edgeloop_under_both_names(suite: Path) -> None:
    with (suite / "test_both.py").open("a") as file:
        file.write(
            "\n\n@pytest.mark.asyncio\nasync def test_loop():\n"
            "    assert type(asyncio.get_running_loop()).__module__ == 'edgeloop.loop'\n"
        )
    assert passed(suite, "pytest -v --edgeloop test_both.py") == [*NAMES, "test_loop[asyncio]", "test_loop[edgeloop]"]
