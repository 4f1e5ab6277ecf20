"""docs/datagrams.md: each program on the page prints what stands below it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_programs import run_program, with_output
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only

PAGE = ROOT / "docs" / "datagrams.md"
PROGRAMS = with_output(PAGE)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_what_stands_below_it(name: str, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    text, below = PROGRAMS[name]
    done = run_program(pytestconfig, tmp_path, name, text)
    assert (done.returncode, done.stdout, done.stderr) == (0, below, "")


def test_all_programs_of_the_page_are_run() -> None:
    assert set(PROGRAMS) == set(re.findall(r"^```python\n# (\S+\.py)$", PAGE.read_text(), re.MULTILINE))
