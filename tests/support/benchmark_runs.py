"""Short runs of the benchmarks, for tests of what they count. No time is looked at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

import edgeloop

OURS = "edgeloop" if edgeloop.EDITION == "compiled" else "edgeloop-pure"
SHORT = ("--rounds", "1", "--seconds", "0.1")
#: A round in which nothing was answered fails, as it should; on a machine that has much else to do a short one may be such.
LONGER = ("0.1", "0.5", "2")

needs_two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2 or shutil.which("gcc") is None,
    reason="the benchmarks need two cores, for server and load, and gcc",
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    # A round that others disturb is tried three times: on a busy machine a run takes minutes.
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)


def can_talk_tls() -> bool:
    return shutil.which("openssl") is not None and Path("/usr/include/openssl/ssl.h").exists()


def document_in(folder: Path) -> Any:
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text())
