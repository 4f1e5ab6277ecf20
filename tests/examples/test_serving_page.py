"""docs/serving.md: each program that has its output below it prints that."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from example_process import environment
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have none of this

PAGE = ROOT / "docs" / "serving.md"
PROGRAMS = re.findall(r"^```python\n# (\S+)\n(.*?)^```\n\n```\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("name", "program", "output"), PROGRAMS, ids=[name for name, _, _ in PROGRAMS])
def test_a_program_prints_what_stands_below_it(
    pytestconfig: pytest.Config, tmp_path: Path, name: str, program: str, output: str
) -> None:
    (tmp_path / name).write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(tmp_path / name)],
        env=environment(pytestconfig, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (output, "")


def test_the_page_has_programs() -> None:
    assert [name for name, _, _ in PROGRAMS] == ["limited.py", "drained.py"]
