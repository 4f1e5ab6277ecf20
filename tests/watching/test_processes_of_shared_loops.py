"""What becomes of a loop's file when its process is killed, stopped, or runs another program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_process import environment
from interpreters import needs_waitid

from edgeloop.watching.rows import NotWatchedError, Sampler, why_not
from edgeloop.watching.shared_file import has_files, is_suspended, loops, started

pytestmark = pytest.mark.edgeloop_only

PROGRAM = """
import asyncio, os, edgeloop

async def main():
    print(edgeloop.share(asyncio.get_running_loop()), flush=True)
    await asyncio.to_thread(input)
    os.execv("/bin/cat", ["cat"])

edgeloop.run(main())
"""


class Sharing:
    """A process whose loop is shared, until it executes cat(1)."""

    def __init__(self, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        self.pid = self.process.pid
        self.path = Path(self.line())

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now


@pytest.fixture
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sharing]:
    child = Sharing(environment(request.config, tmp_path))
    try:
        yield child
    finally:
        with child.process:
            child.process.kill()
        child.path.unlink(missing_ok=True)


@needs_waitid
def test_the_file_of_a_process_that_was_killed_goes_before_its_parent_knows(sharing: Sharing) -> None:
    assert [found.pid for found in loops(sharing.pid)] == [sharing.pid]
    (shared,) = loops(sharing.pid)
    sharing.kill()
    assert started(sharing.pid) == 0
    with pytest.raises(ProcessLookupError):
        shared.read()
    assert loops(sharing.pid) == []
    assert not sharing.path.exists()


def test_a_process_that_runs_another_program_has_no_loop(sharing: Sharing) -> None:
    sharing.write("\n")
    while Path(f"/proc/{sharing.pid}/comm").read_text() != "cat\n":
        time.sleep(0.01)
    assert loops(sharing.pid) == []
    assert has_files(sharing.pid)
    assert "after execve" in why_not(sharing.pid)
    with pytest.raises(NotWatchedError, match="execve"):
        Sampler(sharing.pid).rows()


@needs_waitid
def test_a_process_that_is_stopped_is_suspended(sharing: Sharing) -> None:
    sampler = Sampler(sharing.pid)
    assert [row.state for row in sampler.rows()] != ["suspended"]
    os.kill(sharing.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, sharing.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_suspended(sharing.pid)
    assert [row.state for row in sampler.rows()] == ["suspended"]
    os.kill(sharing.pid, signal.SIGCONT)
    os.waitid(os.P_PID, sharing.pid, os.WCONTINUED)
    assert [row.state for row in sampler.rows()] != ["suspended"]


def test_the_file_of_another_version_is_named_as_such(sharing: Sharing) -> None:
    with sharing.path.open("r+b") as file:
        file.seek(8)
        file.write(b"\xff")  # of the number of the version
    assert loops(sharing.pid) == []
    assert "another version of edgeloop" in why_not(sharing.pid)


def test_there_is_no_process_with_the_number_zero() -> None:
    assert started(0) == 0
    assert not is_suspended(0)
