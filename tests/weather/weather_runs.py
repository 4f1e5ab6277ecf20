"""Runs the fail-call campaign on a scenario, for the tests, and sets aside what is known to be at fault.

``make test`` takes a sample, always the same (WEATHER_FIRST=N: another one); ``make weather`` (WEATHER=whole) takes all there
is, with other seeds each day. Environment variables, as a test session has one weather.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import failing_calls
from known_faults import KNOWN, Known
from repository import ROOT, SUPPORT

HERE = Path(__file__).parent
WHOLE = os.environ.get("WEATHER") == "whole"
EVERY = 1 if WHOLE else int(os.environ.get("WEATHER_EVERY", "20"))
RANDOM = 60 if WHOLE else 3
FIRST = int(os.environ.get("WEATHER_FIRST", datetime.datetime.now(datetime.UTC).date().toordinal() if WHOLE else 1))


def environment(**more: str) -> dict[str, str]:
    """For a program of this folder that is run with the library."""
    paths = [str(HERE), str(SUPPORT), str(ROOT), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONWARNINGS", "WEATHER_SEED")}
    return {**kept, "LD_PRELOAD": str(library()), "PYTHONPATH": os.pathsep.join(paths), **more}


@functools.cache
def library() -> Path:
    """The library, compiled once in each process of the test session."""
    folder = Path(tempfile.mkdtemp(prefix="weather"))
    return failing_calls.build(folder)


def lines_of(program: str, *arguments: str) -> list[dict[str, Any]]:
    """What a program of this folder says, in JSON."""
    command = [sys.executable, str(HERE / program), *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def campaign(loop_name: str, *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What campaign.py says of each run, and its summary."""
    *runs, summary = lines_of("campaign.py", "--loop", loop_name, *arguments)
    return runs, summary


def plain(what: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"0x[0-9a-f]+|\[\d+\]|fd=-?\d+|\('127.0.0.1', \d+\)|pid=\d+", "_", what)


def covers(fault: Known, scenario: str, run: dict[str, Any], what: str) -> bool:
    """Whether what is wrong with a run is this known fault."""
    return fault.covers(scenario, run.get("call") or run.get("expected", ""), run.get("fault"), plain(what))


def is_covered(fault: Known, scenario: str, run: dict[str, Any]) -> bool:
    """Whether a run has met a known fault."""
    return any(covers(fault, scenario, run, what) for what in run["wrong"])


def unknown_faults(scenario: str, run: dict[str, Any]) -> list[str]:
    """What is wrong with a run and is not on the list of what is known."""
    return [plain(what) for what in run["wrong"] if not any(covers(fault, scenario, run, what) for fault in KNOWN)]


def described(scenario: str, run: dict[str, Any], wrong: list[str]) -> str:
    """For the message of a test that fails: how to see it again."""
    if "seed" in run:
        how = f"{scenario} 1 --random 1 --seed {run['seed']}"
    else:
        how = f"{scenario} {run.get('number', '')} {run.get('variant', '')}"
    said = "\n".join(run.get("said", ()))
    return f"campaign.py {how} ({run.get('call') or run.get('expected')} {run.get('fault')}): {wrong}\n{said}"


def check(scenario: str) -> None:
    """Fail with all that is wrong with a scenario; and if the campaign did not reach what it is for.

    Half of the sample's runs are of one failed call each; in the others calls are interrupted, would block and come up
    short, many in each run.
    """
    sample = ("--every", str(EVERY), "--first", str(FIRST), "--random", str(RANDOM), "--seed", str(FIRST * 1000))
    runs, summary = campaign("edgeloop", *sample, scenario)
    assert summary["runs"] > 0
    single = [run for run in runs[1:] if "number" in run and "fault" in run]
    reached = [run for run in single if run["fault"] or run["implausible"]]
    assert len(reached) >= 0.5 * len(single), "the calls of two runs differ too much"
    stormy = [run for run in runs if "seed" in run]
    assert len(stormy) == RANDOM
    assert not WHOLE or sum(run.get("failed", 0) for run in stormy) >= RANDOM  # a small sample may have none
    fail_with(scenario, runs)


def fail_with(scenario: str, runs: list[dict[str, Any]]) -> None:
    """Fail with what is wrong and not known, and if all was tried also with what is known and has not been seen."""
    failures = [described(scenario, run, wrong) for run in runs if (wrong := unknown_faults(scenario, run))]
    assert not failures, f"WEATHER_FIRST={FIRST}\n" + "\n".join(failures)
    if WHOLE:
        expected = [fault for fault in KNOWN if re.fullmatch(fault.scenario, scenario)]
        gone = [fault for fault in expected if not any(is_covered(fault, scenario, run) for run in runs)]
        assert not gone, f"no longer at fault, to be taken off the list: {gone}"
