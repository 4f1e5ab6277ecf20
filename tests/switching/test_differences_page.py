"""docs/differences.md: each program on the page prints what stands below it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from example_process import environment
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
    (tmp_path / name).write_text(PROGRAMS[name])
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", name, *(["edgeloop"] if name == "differences.py" else [])],
        cwd=tmp_path,
        env=environment(request.config, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, expected(name), "")


def test_asyncio_s_own_loop_says_the_same_of_what_uvloop_does_otherwise(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (tmp_path / "differences.py").write_text(PROGRAMS["differences.py"])
    done = subprocess.run(
        [sys.executable, "differences.py", "asyncio"],
        cwd=tmp_path,
        env=environment(request.config, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, expected("differences.py"))
