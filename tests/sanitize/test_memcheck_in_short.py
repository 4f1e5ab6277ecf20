"""Some scenarios of the hunt for leaks under valgrind, in the build that is here. ``make memcheck`` plays all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT, SUPPORT

SUPPRESSIONS = Path(__file__).with_name("valgrind.supp")
#: Each costs about a second here, and to import all of it seven. To make TLS contexts costs nine.
SCENARIOS = (
    *("tcp_echo", "end_of_stream", "accept", "given_sockets", "streams", "datagrams", "sendfile", "pipes"),
    *("readers", "sock_calls", "given_up", "raising_callbacks", "shutdown"),
)
FOUND = 9
USE_AFTER_FREE = "import ctypes; libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; \
block = libc.malloc(100); libc.free(ctypes.c_void_p(block)); ctypes.string_at(block, 100)"

pytestmark = pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")


def memcheck(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python under it. The status is FOUND if it has found something."""
    folders = [ROOT / "tests" / "leaks", ROOT / "tests" / "weather", SUPPORT, ROOT]
    environment = {
        "PYTHONMALLOC": "malloc",  # each object is a block of its own, which memcheck watches
        "PYTHONPATH": os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")]),
        "EDGELOOP_PURE": "0",
    }
    watching = ("valgrind", "-q", "--leak-check=no", f"--error-exitcode={FOUND}", f"--suppressions={SUPPRESSIONS}")
    return subprocess.run(
        [*watching, sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_memcheck_finds_nothing_in_what_is_played() -> None:
    done = memcheck(str(ROOT / "tests" / "leaks" / "hunt.py"), "--batches", "0", "--plays", "1", *SCENARIOS)
    assert done.returncode == 0, done.stderr
    played = [json.loads(line) for line in done.stdout.splitlines()]
    assert [found["scenario"] for found in played] == list(SCENARIOS)
    assert not any(found["wrong"] for found in played)


def test_memcheck_finds_a_read_of_what_is_freed() -> None:
    done = memcheck("-I", "-S", "-c", USE_AFTER_FREE)
    assert done.returncode == FOUND, done.stderr
    assert "Invalid read" in done.stderr
