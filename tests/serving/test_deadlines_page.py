"""docs/deadlines.md: each program on the page prints what stands below it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from example_process import environment
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only

PAGE = ROOT / "docs" / "deadlines.md"
PROGRAMS = {
    name: (text, below)
    for name, text, below in re.findall(
        r"^```python\n# (\S+)\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_what_stands_below_it(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    text, below = PROGRAMS[name]
    (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, str(tmp_path / name)],
        env=environment(request.config, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, below, "")


def test_all_programs_of_the_page_are_run() -> None:
    assert set(PROGRAMS) == set(re.findall(r"^```python\n# (\S+\.py)$", PAGE.read_text(), re.MULTILINE))
