"""The programs on docs/instruments.md do what stands beside them."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from page_programs import run_program
from repository import ROOT
from switching_on_page import program

import edgeloop

pytestmark = pytest.mark.edgeloop_only

PAGE = ROOT / "docs" / "instruments.md"


def output(request: pytest.FixtureRequest, folder: Path, name: str) -> str:
    done = run_program(request.config, folder, name, program(name, PAGE))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_trace_has_callbacks_waits_and_connections(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert output(request, tmp_path, "trace_run.py") == "b'hello\\n'\n"
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    # https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU: what each event must have
    for event in events:
        assert {"name", "ph", "ts", "pid", "tid"} <= event.keys()
        assert event["ph"] == "i" or event["dur"] >= 0
    spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event["ph"] == "X")
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))  # one after the other
    names = [event["name"] for event in events]
    assert "wait" in names
    assert any("main()" in name for name in names)
    assert any("greet()" in name for name in names)
    assert names.count("connection made") == names.count("connection lost: None") == 2


def test_the_log_has_a_line_for_each_connection(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    lines = output(request, tmp_path, "connection_log.py").splitlines()
    (shown,) = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)

    def pattern(line: str) -> str:
        return re.sub(r"\d{4,5}\\\)", r"\\d+\\)", re.sub(r"\d\\\.\d{3}", r"\\d+\\.\\d{3}", re.escape(line)))

    assert len(lines) == len(shown.splitlines())
    for line, as_shown in zip(lines, shown.splitlines(), strict=True):
        assert re.fullmatch(pattern(as_shown), line), line


def test_the_page_names_every_method() -> None:
    table = re.findall(r"^\| `(\w+)\(", PAGE.read_text(), re.MULTILINE)
    assert set(table) | {"describe"} == {name for name in vars(edgeloop.Instrument) if not name.startswith("_")}
