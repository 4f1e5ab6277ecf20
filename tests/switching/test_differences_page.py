"""docs/differences.md: each program on the page prints what stands below it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from page_programs import run_program
from repository import ROOT

pytestmark = pytest.mark.edgeloop_only

PAGE = ROOT / "docs" / "differences.md"
PROGRAMS = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))


def expected(name: str) -> str:
    """The output that follows the program."""
    rest = PAGE.read_text().partition(f"```python\n# {name}\n")[2]
    found = re.search(r"^```text\n(.*?)^```$", rest, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.fair_weather  # some look before the loop has written
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_on_the_page_prints_what_stands_below_it(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    if name == "backlog.py" and sys.implementation.name == "pypy":
        pytest.skip("PyPy listens for one more than it is told: the second connection has its place at once")
    options = ["-W", "ignore::DeprecationWarning"]
    arguments = ["edgeloop"] if name == "differences.py" else []
    done = run_program(request.config, tmp_path, name, PROGRAMS[name], options, arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected(name), "")


def test_asyncio_s_own_loop_says_the_same_of_what_uvloop_does_otherwise(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name = "differences.py"
    done = run_program(request.config, tmp_path, name, PROGRAMS[name], arguments=["asyncio"])
    assert (done.returncode, done.stdout) == (0, expected(name))
