"""A followed process ends with all it has started, whoever ends the run."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from compat import following

STARTER = """
import json, os, subprocess, time
child = subprocess.Popen(["sleep", "1000"])
with open(int(os.environ["EDGELOOP_COMPAT_FD"]), "w") as pipe:
    print(json.dumps({"child": child.pid}), file=pipe, flush=True)
    time.sleep(1000)
"""


def state(pid: int) -> str:
    """The letter of proc_pid_stat(5); Z and X are dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


def gone(pid: int) -> bool:
    for _ in range(500):
        if state(pid) in "ZX":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.edgeloop_only
def test_what_it_started_ends_with_the_run() -> None:
    process = following.Process([sys.executable, "-c", STARTER], timeout=60)
    events = process.events()
    child = next(events)["child"]
    assert state(child) not in "ZX"
    following.end_all()
    assert list(events) == []
    assert gone(child)
    assert process.returncode == -signal.SIGKILL
    assert not process.hung
    following.end_all()  # there is nothing left to end


@pytest.mark.edgeloop_only
def test_what_it_started_ends_when_nobody_listens_any_more() -> None:
    events = following.Process([sys.executable, "-c", STARTER], timeout=60).events()
    child = next(events)["child"]
    events.close()  # type: ignore[attr-defined]  # a generator, which an Iterator need not be
    assert gone(child)
