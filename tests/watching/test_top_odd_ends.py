"""How the commands ps and top end, what they say of what is missing, and their numbers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT
from shared_processes import Terminal, Watched, environment_of_top

from edgeloop.watching import looking_inside, ps, rows, shared_file, top

pytestmark = pytest.mark.edgeloop_only


@pytest.fixture
def env(request: pytest.FixtureRequest, tmp_path: Any) -> dict[str, str]:
    return environment_of_top(request.config, tmp_path)


@pytest.mark.parametrize("command", [ps, top])
def test_help_is_printed_and_no_error(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    assert "usage: python -m edgeloop" in capsys.readouterr().out


def test_what_is_no_number_of_a_process_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert ps.main(["self"]) == 1
    assert top.main(["self"]) == 1
    assert capsys.readouterr().err.count("'self' is not the number of a process") == 2


def test_times_and_numbers_have_their_units() -> None:
    assert [ps.seconds(value) for value in (None, 2.5, 0.25, 0.00025)] == ["-", "2.5s", "250.0ms", "250us"]
    assert [ps.number(value) for value in (7, 7_000, 7e6, 7e9)] == ["7", "7.0k", "7.0M", "7.0G"]


def fake_tool(folder: Path, text: str) -> None:
    path = folder / "py-spy"
    path.write_text(text)
    path.chmod(0o755)


def test_a_stack_is_what_py_spy_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    fake_tool(tmp_path, '#!/bin/sh\necho "$@"\n')
    assert looking_inside.stack_of(7) == "dump --pid 7"
    fake_tool(tmp_path, "#!/bin/sh\n")
    assert looking_inside.stack_of(7).endswith("py-spy dump --pid 7 printed nothing")
    fake_tool(tmp_path, "#!/no/such/interpreter\n")
    assert "No such file or directory" in looking_inside.stack_of(7)


def test_ps_asks_for_the_stack_and_the_tasks_of_the_process(
    loop: asyncio.AbstractEventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import edgeloop

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    fake_tool(tmp_path, '#!/bin/sh\necho "the stack"\n')
    monkeypatch.setattr(ps, "LOOK_SECONDS", 0.001)
    edgeloop.share(loop)
    assert ps.main([str(os.getpid()), "--stack", "--tasks"]) == 0
    printed = capsys.readouterr().out
    assert "the stack" in printed or "py-spy" in printed
    assert "asyncio pstree" in printed or sys.version_info >= (3, 14)
    edgeloop.unshare(loop)


def test_a_process_that_is_gone_has_no_command() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert rows.command_of(child) == "?"
    assert shared_file.namespace_of(child, 0) == 0


def test_ctrl_c_ends_top_without_a_word(env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "edgeloop", "top", "--plain", "-d", "0.01"]
    with subprocess.Popen(
        command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("arguments", [["top", "--plain", "-d", "0.01"], ["ps"]])
def test_an_output_that_nobody_reads_is_no_error(env: dict[str, str], arguments: list[str]) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "edgeloop", *arguments]
    with subprocess.Popen(
        command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(writing)
        os.close(reading)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")


def test_a_terminal_that_is_gone_ends_top_without_a_word(env: dict[str, str]) -> None:
    pytest.importorskip("rich", reason="the extra edgeloop[top]")
    shown = Terminal(env, "-d", "0.05")
    try:
        shown.shows("h: keys")
        os.close(shown.end)
        os.close(shown._fd)
        _, errors = shown.process.communicate(timeout=60)
        assert (shown.process.returncode, errors) == (0, "")
    finally:
        shown.process.kill()
        shown.process.communicate()


def test_a_key_that_means_nothing_does_nothing(env: dict[str, str]) -> None:
    pytest.importorskip("rich", reason="the extra edgeloop[top]")
    shown = Terminal(env, "-d", "30")
    try:
        shown.shows("h: keys")
        shown.press("x")
        shown.press("h")
        shown.shows("select a loop")
        shown.press("q")
        assert shown.process.wait(60) == 0
    finally:
        shown.close()


def test_top_ends_after_as_many_looks_as_were_asked_for(env: dict[str, str]) -> None:
    pytest.importorskip("rich", reason="the extra edgeloop[top]")
    watched = Watched(env)
    shown = Terminal(env, "-n", "2", "-d", "0.05")
    try:
        assert shown.process.wait(60) == 0
    finally:
        shown.close()
        watched.end()
