"""What a watchdog says of reports that it left out, of stops and waits, and where it can't be started."""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import threading
import time
from collections.abc import Iterator

import pytest
from watched_loops import Reports, blocked

import edgeloop
from edgeloop.watching import limiter, report, watchdog

pytestmark = pytest.mark.edgeloop_only


@pytest.fixture
def no_threads() -> Iterator[None]:
    """No thread can be started: there is no room for its stack."""
    threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(0)


def test_a_watch_that_gets_no_thread_is_refused_and_leaves_nothing(
    loop: asyncio.AbstractEventLoop, no_threads: None
) -> None:
    before = threading.enumerate()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        edgeloop.watch(loop, 0.02)
    assert threading.enumerate() == before
    assert (watchdog._watchdogs, watchdog._threads) == ((), ())
    loop.run_until_complete(asyncio.sleep(0))


def test_a_loop_runs_unwatched_where_the_environment_s_watch_gets_no_thread(
    loop: asyncio.AbstractEventLoop, no_threads: None, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog.watch_by_default(loop, 0.02)
    assert "the event loop is not watched: can't start new thread" in caplog.text
    assert loop.run_until_complete(asyncio.sleep(0, 7)) == 7


def test_reports_that_were_left_out_are_told_when_none_follow(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "WINDOW", 0.5)
    reports = Reports()

    async def block() -> None:
        time.sleep(0.02)

    def summary_of(blocks: int) -> report.Report | None:
        for _ in range(blocks):
            loop.run_until_complete(block())
        while True:
            try:
                found: report.Report = reports.seen.get(timeout=1)
            except queue.Empty:
                return None
            if found.phase == report.SUPPRESSED:
                return found

    with edgeloop.watch(loop, 0.01, report=reports):
        summary = next(filter(None, (summary_of(8) for _ in range(60))))  # until more than five came within the window
    assert summary.suppressed > 0
    assert str(summary) == f"{summary.suppressed} more reports about {summary.place} were left out"


def test_a_report_says_what_else_took_the_time(loop: asyncio.AbstractEventLoop) -> None:
    lasts = threading.Event()
    begun, *_, ended = blocked(loop, lasts.wait, Reports(lasts.set))
    waited = dataclasses.replace(ended, delay_seconds=0.25, steal_seconds=0.125, suppressed=3)
    assert ", 0.250 s waiting for one" in str(waited)
    assert ", 0.125 s stolen by the hypervisor" in str(waited)
    assert str(waited).endswith("[3 reports about this place were left out before]")
    bare = dataclasses.replace(ended, task=None, coroutines=(), place="")
    assert " in task " not in str(bare)
    assert ", at " not in str(bare)
    assert "(" not in str(dataclasses.replace(begun, task=None, coroutines=(), stack="")).partition(":")[0]
    stopped = dataclasses.replace(ended, phase=report.STOPPED, seconds=1.5)
    assert str(stopped) == "the process was stopped for at least 1.500 s: SIGSTOP, a debugger or a frozen cgroup"


def test_a_callback_of_the_standard_library_is_named_by_its_own_place(loop: asyncio.AbstractEventLoop) -> None:
    lasts = threading.Event()
    reports = Reports(lasts.set)
    with edgeloop.watch(loop, 0.02, report=reports):
        loop.call_soon(lasts.wait, 60)
        loop.call_soon(loop.stop)
        loop.run_forever()
        found = reports.next()
    assert "threading.py" in found.place
    assert found.task is None
