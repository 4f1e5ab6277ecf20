"""docs/watchdog.md: its program prints what it shows, and its tables name what there is."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from example_process import environment
from interpreters import needs_tasks_in_c
from repository import ROOT

from edgeloop.watching import report

pytestmark = pytest.mark.edgeloop_only

PAGE = (ROOT / "docs" / "watchdog.md").read_text()


def words_of_first_column(heading: str) -> set[str]:
    """What stands in backquotes in the first column of the table with this heading."""
    table = PAGE[PAGE.index(heading) :].partition("\n\n")[0]
    return {
        word for cell in re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)[1:] for word in re.findall(r"`(.*?)`", cell)
    }


@needs_tasks_in_c
def test_the_program_prints_what_the_page_shows(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    program, shown = re.findall(r"^```(?:python)?\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[:2]
    (tmp_path / "program.py").write_text(program)
    for _ in range(20):  # on a busy machine it may be found before it is in the system call, or wait for a processor
        done = subprocess.run(
            [sys.executable, "program.py"],
            env=environment(pytestconfig, tmp_path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0
        printed = re.sub(r"\d\.\d{3}", "N", done.stderr.replace(f"{tmp_path}/", ""))
        if printed == re.sub(r"\d\.\d{3}", "N", shown):
            return
    raise AssertionError(printed)


def test_the_tables_name_each_attribute_and_each_kind() -> None:
    attributes = {field.name for field in dataclasses.fields(report.Report)}
    assert words_of_first_column("| attribute |") == attributes
    assert words_of_first_column("| `kind` | what it means") == set(report._WORDS)
