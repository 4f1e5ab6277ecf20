"""docs/serving.md: each program that has its output below it prints that."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_programs import run_program, with_output
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have none of this

PROGRAMS = with_output(ROOT / "docs" / "serving.md")
del PROGRAMS["behind_a_proxy.py"]  # which waits for a proxy: tests/serving/test_activation_page.py


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_what_stands_below_it(name: str, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    text, below = PROGRAMS[name]
    done = run_program(pytestconfig, tmp_path, name, text, ["-W", "error"])
    assert (done.stdout, done.stderr) == (below, "")


def test_the_page_has_programs() -> None:
    assert list(PROGRAMS) == ["limited.py", "drained.py"]
