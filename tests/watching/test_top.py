"""``python -m edgeloop top`` and ``ps``: other processes' loops, as text, as JSON and in a terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import Any

import pytest
from repository import ROOT
from shared_processes import Watched, environment_of_top, terminal

from edgeloop.watching import ps

pytestmark = pytest.mark.edgeloop_only


@pytest.fixture
def env(request: pytest.FixtureRequest, tmp_path: Any) -> dict[str, str]:
    return environment_of_top(request.config, tmp_path)


@pytest.fixture
def watched(env: dict[str, str]) -> Iterator[Watched]:
    watched = Watched(env)
    try:
        yield watched
    finally:
        watched.end()


def edgeloop(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeloop", *arguments]
    return subprocess.run(
        command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def output(env: dict[str, str], *arguments: str) -> str:
    done = edgeloop(env, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_ps_shows_the_loops_of_this_machine(env: dict[str, str], watched: Watched) -> None:
    head, *lines = output(env, "ps").splitlines()
    assert head.split()[:4] == ["PID", "LOOP", "STATE", "LOAD"]
    assert [line.split()[:3] for line in lines if line.split()[0] == str(watched.pid)] == [
        [str(watched.pid), "1", "idle"]
    ]


def test_ps_says_what_would_fill_its_table() -> None:
    head, line = ps.lines([])  # other tests of this machine may share a loop just now
    assert head.split()[0] == "PID"
    assert "EDGELOOP_WATCH=0.1" in line


def test_ps_shows_one_loop_s_figures(env: dict[str, str], watched: Watched) -> None:
    text = output(env, "ps", str(watched.pid))
    assert re.search(r"^state +idle$", text, re.MULTILINE)
    assert re.search(r"^connections +2 open, 2 made", text, re.MULTILINE)


def test_a_loop_that_hangs_is_shown_as_blocked(env: dict[str, str], watched: Watched) -> None:
    watched.block()
    (loop,) = json.loads(output(env, "ps", str(watched.pid), "--json"))
    assert loop["pid"] == watched.pid
    assert loop["state"] == "blocked"
    assert loop["blocked_for"] > 0
    assert loop["connections"] == 2


def test_top_prints_a_line_of_json_for_each_look(env: dict[str, str], watched: Watched) -> None:
    lines = output(env, "top", str(watched.pid), "-n", "2", "-d", "0.05", "--json").splitlines()
    assert [[loop["pid"] for loop in json.loads(line)] for line in lines] == [[watched.pid]] * 2


def test_top_prints_text_where_there_is_no_terminal(env: dict[str, str], watched: Watched) -> None:
    text = output(env, "top", "-n", "2", "-d", "0.05")
    assert len(re.findall(rf"^ *{watched.pid} +1 ", text, re.MULTILINE)) == 2
    assert "\x1b" not in text


@pytest.mark.parametrize("command", ["ps", "top"])
def test_a_process_that_is_not_there_is_said(env: dict[str, str], command: str) -> None:
    done = edgeloop(env, command, "99999999")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"python -m edgeloop {command}: no process has the number 99999999\n"


@pytest.mark.parametrize("command", ["ps", "top"])
def test_a_process_that_shares_nothing_is_said(env: dict[str, str], command: str) -> None:
    done = edgeloop(env, command, str(os.getpid()))
    assert done.returncode == 1
    assert "edgeloop.share(loop)" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's process is needed")
def test_another_user_s_process_is_said(env: dict[str, str], watched: Watched) -> None:
    program = (
        f"import os, sys; from edgeloop.watching import ps; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
        f"sys.exit(ps.main(['{watched.pid}']))"
    )
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"process {watched.pid} belongs to the user 0" in done.stderr


def test_the_file_of_a_killed_process_is_not_shown(env: dict[str, str], watched: Watched) -> None:
    watched.process.kill()
    watched.process.wait()
    done = edgeloop(env, "ps", str(watched.pid))
    assert done.returncode == 1
    assert f"no process has the number {watched.pid}" in done.stderr
    assert os.listdir(env["XDG_RUNTIME_DIR"]) == []


@pytest.mark.parametrize(
    "arguments",
    [["top", "-d"], ["top", "-d", "0"], ["top", "-n", "x"], ["top", "--what"], ["ps", "--stack"], ["ps", "1", "2"]],
)
def test_wrong_arguments_are_refused(env: dict[str, str], arguments: list[str]) -> None:
    done = edgeloop(env, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: python -m edgeloop" in done.stderr


def test_the_keys_open_a_loop_and_its_pages_and_quit(env: dict[str, str], watched: Watched) -> None:
    pytest.importorskip("rich", reason="the extra edgeloop[top]")
    with terminal(env, "-d", "0.2") as shown:
        assert "h: keys" in shown.shows(str(watched.pid)) or shown.shows("h: keys")
        shown.press("h")
        shown.shows("select a loop")
        shown.press(" ")
        shown.shows("by load")
        shown.press("c")
        shown.shows("by connections")
        shown.press("\n")
        shown.shows("descriptors")
        shown.press("\x1b")
        shown.shows("h: keys")
        shown.press("q")
        assert shown.process.wait(60) == 0
        assert termios.tcgetattr(shown.end) == shown.settings


def test_a_blocked_loop_is_seen_in_the_terminal(env: dict[str, str], watched: Watched) -> None:
    pytest.importorskip("rich", reason="the extra edgeloop[top]")
    with terminal(env, str(watched.pid), "-d", "0.2") as shown:
        shown.shows("idle")
        watched.block()
        shown.shows("blocked")
        shown.press("q")
        assert shown.process.wait(60) == 0


def test_what_is_missing_for_the_table_is_said(env: dict[str, str], tmp_path: Any) -> None:
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ImportError('not this one')\n")
    with terminal({**env, "PYTHONPATH": os.pathsep.join([str(tmp_path), env.get("PYTHONPATH", "")])}) as shown:
        _, said = shown.process.communicate(timeout=60)
        assert shown.process.returncode == 1
        assert "pip install 'edgeloop[top]'" in said
