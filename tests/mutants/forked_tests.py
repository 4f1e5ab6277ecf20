"""Runs some of the collected tests in a fork of this process, up to the first that fails."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

PR_SET_CHILD_SUBREAPER = 36
SECONDS = 6.0  # that a test may be silent for, and PATIENCE times what it takes: then it hangs
PATIENCE = 12


@dataclass
class Outcome:
    """How it ended: "passed", "failed", "hangs", "died" or "not changed", and in which test."""

    how: str
    test: str = ""
    seconds: float = 0.0


class Failures:
    """Remembers whether a test has failed."""

    def __init__(self) -> None:
        self.failed = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed


def adopt_orphans() -> None:
    """Have processes whose parent is gone become this one's: ``end_orphans`` ends what a test that hung has left."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(child: int) -> None:
    """Let those that have ended go, as init would: some tests wait for that."""
    while True:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or ended.si_pid == child:
            return
        os.waitpid(ended.si_pid, 0)


def end_orphans() -> None:
    me = os.getpid()
    for _ in range(20):
        with open(f"/proc/{me}/task/{me}/children") as children:
            left = [int(word) for word in children.read().split()]
        if not left:
            return
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def play(
    items: Sequence[pytest.Item],
    prepare: Callable[[], Any],
    write: int,
    around: Callable[[pytest.Item, Callable[[], None]], dict[str, Any]] | None,
) -> None:
    """In the fork: run the tests, and write about each a line of JSON."""

    def say(**what: Any) -> None:
        os.write(write, (json.dumps(what) + "\n").encode())

    os.setsid()
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    config = items[0].config
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter._tw._file = open(os.devnull, "w")  # until the process ends
    failures = Failures()
    config.pluginmanager.register(failures, "mutants-failures")
    if prepare() is False:
        say(end="not changed")
        return
    for item, following in zip(items, [*items[1:], None], strict=True):
        say(begins=item.nodeid)

        def run(item: pytest.Item = item, following: pytest.Item | None = following) -> None:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)

        failures.failed = False
        if around is None:
            run()
        else:
            say(about=item.nodeid, report=around(item, run), failed=failures.failed)
        if failures.failed and around is None:
            say(end="failed")
            return
    say(end="passed")


def run_forked(
    items: Sequence[pytest.Item],
    prepare: Callable[[], Any],
    seconds: Callable[[str], float],
    around: Callable[[pytest.Item, Callable[[], None]], dict[str, Any]] | None = None,
    about: Callable[[str, dict[str, Any], bool], None] | None = None,
) -> Outcome:
    """Run tests in a fork that ``prepare`` has changed. Without ``around`` the first failure ends it."""
    start = time.monotonic()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            play(items, prepare, write, around)
        except BaseException as exc:
            try:
                os.write(write, (json.dumps({"end": "failed", "by": repr(exc)}) + "\n").encode())
            except BaseException:
                pass
        finally:
            os._exit(0)
    os.close(write)
    how, test, buffer = "died", "", b""
    limit = time.monotonic() + 60.0
    while True:
        if not select.select([read], [], [], 0.5)[0]:
            reap_orphans(pid)
            if time.monotonic() < limit:
                continue
            how = "hangs"
            break
        data = os.read(read, 1 << 20)
        if not data:
            break
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "begins" in said:
                test = said["begins"]
                limit = time.monotonic() + SECONDS + PATIENCE * seconds(test)
            elif "about" in said:
                assert about is not None
                about(said["about"], said["report"], said["failed"])
            else:
                how = said["end"]
        if how != "died":
            break
    os.close(read)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    end_orphans()
    sys.stdout.flush()
    return Outcome(how, test, time.monotonic() - start)
