"""Weather for whole programs: tests of edgeloop's pass in it, and what it does is what a kernel could do."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import seeded
from kernel_truth import needs_gcc
from repository import ROOT
from weather_runs import FIRST, HERE, environment, library

pytestmark = [pytest.mark.fair_weather, needs_gcc]

#: A sample of the suite; make weather runs all of it.
TESTS = ("tests/transports/test_stream_flow.py", "tests/transports/test_short_reads.py")


def in_weather(script: str, folder: Path, *, seed: int = 1, permille: int = 300) -> object:
    """What a program prints in JSON when its calls are made to fail."""
    (folder / "failing_calls.so").symlink_to(library())
    plan = seeded.plan(folder, seed, permille)
    program = textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", program], env=environment(**plan), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ECHO = """
    import json, select, socket
    one, other = socket.socketpair()
    one.setblocking(False)
    poll = select.epoll()
    poll.register(one, select.EPOLLIN | EDGES)
    came = []
    for number in range(100):
        other.send(b"%4d" % number)
        got = b""
        while len(got) < 4 and poll.poll(5):  # only after an edge
            try:
                got += one.recv(100)
            except BlockingIOError:
                got += b""
        came.append(got.decode())
    print(json.dumps(came))
"""


def test_what_was_left_comes_with_an_edge_of_its_own(tmp_path: Path) -> None:
    came = in_weather(ECHO.replace("EDGES", "select.EPOLLET"), tmp_path)
    assert came == [f"{number:4d}" for number in range(100)]
    assert set(seeded.fallen(tmp_path)["recv"]) == {"would block", "interrupted", "short"}


def test_it_falls_only_on_what_is_registered_edge_triggered(tmp_path: Path) -> None:
    in_weather(ECHO.replace("EDGES", "0"), tmp_path)
    assert set(seeded.fallen(tmp_path)) == {"epoll_wait"}


def test_a_duplicate_that_is_registered_gets_the_edge_as_well(tmp_path: Path) -> None:
    script = ECHO.replace("EDGES", "select.EPOLLET").replace("one.recv", "same.recv")
    script = script.replace(
        "    came = []",
        "    same = one.dup()\n    more = select.epoll()\n    more.register(same, 1 << 31)\n    came = []",
    )
    assert len(in_weather(script, tmp_path)) == 100  # type: ignore[arg-type]
    assert "recv" in seeded.fallen(tmp_path)


def test_a_seed_has_the_same_weather_each_time(tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((7, 7, 8)):
        folder = tmp_path / str(number)
        folder.mkdir()
        in_weather(ECHO.replace("EDGES", "select.EPOLLET"), folder, seed=seed)
        found.append(seeded.fallen(folder)["recv"])
    assert found[0] == found[1] != found[2]


def test_tests_of_edgeloop_pass_in_it() -> None:
    command = [
        sys.executable,
        str(HERE / "seeded.py"),
        "--seed",
        str(FIRST),
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *TESTS,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recv: " in done.stdout
