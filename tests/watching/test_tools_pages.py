"""The programs on docs/tools.md and docs/top.md do what stands beside them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from example_process import environment
from page_programs import run_program
from repository import ROOT
from switching_on_page import program

pytestmark = pytest.mark.edgeloop_only

TOOLS = ROOT / "docs" / "tools.md"
TOP = ROOT / "docs" / "top.md"


def test_a_replaced_handle_run_finds_the_task(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    done = run_program(request.config, tmp_path, "slow_callbacks.py", program("slow_callbacks.py", TOOLS))
    (shown,) = re.findall(r"^```text\n(.*?)^```$", TOOLS.read_text(), re.DOTALL | re.MULTILINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.splitlines()) >= set(shown.splitlines())  # on a busy machine another one may be slow


def test_the_program_on_the_page_of_top_is_seen(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(program("served.py", TOP))
    env = environment(request.config, tmp_path)
    served = subprocess.Popen([sys.executable, "served.py"], cwd=tmp_path, env=env)
    try:
        end = time.monotonic() + 60
        while True:  # until it shares its loop
            command = [sys.executable, "-m", "edgeloop", "ps", str(served.pid), "--json"]
            done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
            if done.returncode == 0 or time.monotonic() > end:
                break
        (loop,) = json.loads(done.stdout)
        assert loop["pid"] == served.pid
        assert loop["command"].endswith("served.py")
    finally:
        served.kill()
        served.wait()


def test_the_page_of_top_names_every_key() -> None:
    from edgeloop.watching.top import KEYS, ORDERS

    (keys,) = re.findall(r"`((?:\w )+\w)` sort", TOP.read_text())
    assert keys.split() == list(ORDERS)
    assert all(f"{key}  by " in KEYS for key in ORDERS)


def test_the_files_that_blockbuster_is_told_of_are_there() -> None:
    ((path, function),) = re.findall(r'can_block_in\("([\w/.]+)", \{"(\w+)"\}\)', TOOLS.read_text())
    assert f"def {function}(" in Path(os.path.join(ROOT, path)).read_text()
