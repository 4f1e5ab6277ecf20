"""Runs the fail-call campaign on a scenario, for the tests, and sets aside what is known to be at fault.

``make test`` takes a sample, another one each day (WEATHER_FIRST repeats that of another day: the message names it);
``make weather`` (WEATHER=whole) takes all there is. Environment variables, as a test session has one weather.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import failing_calls
import pytest
from known_faults import KNOWN

HERE = Path(__file__).parent
WHOLE = os.environ.get("WEATHER") == "whole"
EVERY = 1 if WHOLE else int(os.environ.get("WEATHER_EVERY", "12"))
RANDOM = 60 if WHOLE else 5
FIRST = int(os.environ.get("WEATHER_FIRST", datetime.datetime.now(datetime.UTC).date().toordinal()))

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="the library that fails calls is compiled by gcc")


@functools.cache
def library() -> Path:
    """The library, compiled once in each process of the test session."""
    folder = Path(tempfile.mkdtemp(prefix="weather"))
    return failing_calls.build(folder)


def campaign(loop_name: str, *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What campaign.py says of each run, and its summary."""
    paths = [str(HERE), str(HERE.parent), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "LD_PRELOAD": str(library()), "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("PYTHONWARNINGS", None)
    done = subprocess.run(
        [sys.executable, str(HERE / "campaign.py"), "--loop", loop_name, *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *runs, summary = (json.loads(line) for line in done.stdout.splitlines())
    return runs, summary


def plain(what: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"0x[0-9a-f]+|\[\d+\]|fd=-?\d+|\('127.0.0.1', \d+\)|pid=\d+", "_", what)


def unknown_faults(scenario: str, run: dict[str, Any]) -> list[str]:
    """What is wrong with a run and is not on the list of what is known."""
    call = run.get("call") or run.get("expected", "")
    wrong = [plain(what) for what in run["wrong"]]
    return [what for what in wrong if not any(fault.covers(scenario, call, run.get("fault"), what) for fault in KNOWN)]


def described(scenario: str, run: dict[str, Any], wrong: list[str]) -> str:
    """For the message of a test that fails: how to see it again."""
    if "seed" in run:
        how = f"--random 1 --seed {run['seed']} {scenario}"
    else:
        how = f"{scenario} {run.get('number', '')} {run.get('variant', '')}"
    what = f"{run.get('call') or run.get('expected')} {run.get('fault')}"
    said = "\n".join(run.get("said", ()))
    return f"campaign.py {how} ({what}): {wrong}\n{said}"


def check(loop_name: str, scenario: str) -> None:
    """Fail with all that is wrong with a scenario; and if the campaign did not reach what it is for."""
    runs, summary = campaign(loop_name, "--every", str(EVERY), "--first", str(FIRST), scenario)
    assert summary["runs"] >= summary["calls"] // EVERY > 0
    answered = [run for run in runs[1:] if "fault" in run]
    reached = [run for run in answered if run["fault"] or run["implausible"]]
    assert len(reached) >= 0.8 * len(answered), "the calls of two runs differ too much"
    failures = [described(scenario, run, wrong) for run in runs if (wrong := unknown_faults(scenario, run))]
    assert not failures, f"WEATHER_FIRST={FIRST}\n" + "\n".join(failures)


def check_at_random(loop_name: str, scenario: str) -> None:
    """As ``check``, in weather in which calls are interrupted, would block and come up short, many in each run."""
    runs, summary = campaign(loop_name, "--random", str(RANDOM), "--seed", str(FIRST * 1000), scenario)
    assert summary["fired"] >= RANDOM
    failures = [described(scenario, run, wrong) for run in runs if (wrong := unknown_faults(scenario, run))]
    assert not failures, "\n".join(failures)
