"""The count of instructions that guards against sliding back: that it counts, and that it notices."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import instructions, scenarios

WHY_NOT = (
    "valgrind is not installed here"
    if shutil.which("valgrind") is None
    else "a quarter of a minute for each program that is counted, which the compiled edition's run has done"
    if os.environ.get("EDGELOOP_PURE") == "1"
    else None
)
needs_valgrind = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
ROOT = Path(scenarios.__file__).parents[1]


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_every_scenario_runs(name: str) -> None:
    if name == "tls" and shutil.which("openssl") is None:
        pytest.skip("the program openssl makes the certificate")
    subprocess.run([sys.executable, "-m", "benchmarks.scenarios", name, "2000"], cwd=ROOT, timeout=60, check=True)


@needs_valgrind
def test_a_count_is_of_one_piece_of_work() -> None:
    """More work takes more, and a piece takes neither a handful of instructions nor a start of the interpreter."""
    assert 500 < instructions.count("yields", lengths=(100, 600)) < 100_000


@needs_valgrind
def test_a_program_that_fails_is_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="no such scenario"):
        instructions.count("no such scenario")


@needs_valgrind
def test_loops_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert instructions.main(["yields", "--loops", "asyncio,edgeloop-pure"]) == 0
    names, row = capsys.readouterr().out.splitlines()
    assert names.split() == ["asyncio", "edgeloop-pure"]
    name, *counts = row.split()
    assert name == "yields"
    assert len(counts) == 2 and all(500 < int(count.replace(",", "")) < 100_000 for count in counts)


@needs_valgrind
@pytest.mark.skipif(importlib.util.find_spec("veloxloop") is not None, reason="veloxloop is installed here")
def test_a_loop_that_cannot_run_has_a_dash_and_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert instructions.main(["yields", "--loops", "veloxloop"]) == 1
    _, row, reason = capsys.readouterr().out.splitlines()
    assert row.split() == ["yields", "-"]
    assert reason.startswith("veloxloop, ")
    assert "not importable" in reason


def test_a_loop_that_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        instructions.main(["--loops", "edgelop"])
    assert "no such loop: 'edgelop'" in capsys.readouterr().err


def test_what_is_slower_is_named() -> None:
    kept = {"echo": 1000, "yields": 1000, "tasks": 1000}
    assert instructions.slower({"echo": 1101, "yields": 1100, "tasks": 500, "new": 9}, kept, 0.1) == ["echo"]


def test_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "RECORD", tmp_path / "record.json")
    assert instructions.on_record("pure") == {}
    instructions.keep("pure", {"echo": 5})
    instructions.keep("compiled", {"echo": 3})
    assert instructions.on_record("pure") == {"echo": 5}
    assert instructions.on_record("compiled") == {"echo": 3}


def test_the_record_that_is_kept_names_every_scenario() -> None:
    kept = json.loads(Path(instructions.__file__).with_name("instructions.json").read_text())
    assert kept
    assert all(set(counts) == set(scenarios.SCENARIOS) for counts in kept.values())
