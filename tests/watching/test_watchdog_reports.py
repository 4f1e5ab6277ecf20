"""Where the watchdog's reports go, and how many: the logger, a callable, five a minute for each place."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from typing import Any

import pytest
from watched_loops import Reports, blocked

import edgeloop
from edgeloop.watching.limiter import MAX_PLACES, Limiter

pytestmark = pytest.mark.edgeloop_only


class Records(logging.Handler):
    """The records of the logger edgeloop.watch; the first one ends the block."""

    def __init__(self, reported: threading.Event) -> None:
        super().__init__()
        self.records: list[Any] = []
        self.reported = reported
        self.ended = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.reported.set()
        if vars(record)["phase"] == "ended":
            self.ended.set()


def test_a_report_is_one_record_with_its_parts_as_fields(loop: asyncio.AbstractEventLoop) -> None:
    reported = threading.Event()
    records = Records(reported)
    logger = logging.getLogger("edgeloop.watch")
    logger.addHandler(records)

    async def handler() -> None:
        reported.wait(60)

    try:
        with edgeloop.watch(loop, 0.02):
            loop.run_until_complete(handler())
            assert records.ended.wait(60)
    finally:
        logger.removeHandler(records)
    begun, ended = records.records[0], records.records[-1]
    assert (begun.levelname, begun.phase, ended.phase) == ("WARNING", "begun", "ended")
    assert begun.seconds >= 0.02
    assert isinstance(begun.kind, str)
    assert begun.task.startswith("Task-")
    assert begun.coroutines == (handler.__qualname__,)
    assert "handler" in begun.stack
    assert "test_watchdog_reports.py" in begun.place
    assert begun.getMessage().startswith("the event loop has been blocked for 0.")
    assert begun.stack.rstrip() in begun.getMessage()
    assert ended.getMessage().startswith("the event loop was blocked for 0.")


def test_a_receiver_that_raises_is_logged_once(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Semaphore(0)
    reported = threading.Semaphore(0)

    def receive(report: Any) -> None:
        (ended if report.phase == "ended" else reported).release()
        raise SystemExit("of the receiver")

    # Two places: of one, a busy machine's second end may be the sixth report.
    async def block() -> None:
        assert reported.acquire(timeout=60)

    async def block_again() -> None:
        assert reported.acquire(timeout=60)

    with edgeloop.watch(loop, 0.02, report=receive):
        for blocking in (block, block_again):
            loop.run_until_complete(blocking())
            assert ended.acquire(timeout=60)
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.name for record in failures] == ["edgeloop.watch"]
    assert failures[0].exc_info is not None


@pytest.mark.parametrize("where", ["a filter", "a handler"])
def test_a_logger_that_raises_ends_neither_the_watch_nor_the_loop(loop: asyncio.AbstractEventLoop, where: str) -> None:
    begun = threading.Semaphore(0)

    class Raising(logging.Handler):
        def filter(self, record: logging.LogRecord) -> bool:
            if where == "a filter":
                self.fail(record)
            return True

        def emit(self, record: logging.LogRecord) -> None:
            self.fail(record)

        def fail(self, record: logging.LogRecord) -> None:
            if getattr(record, "phase", "") == "begun":
                begun.release()
            raise SystemExit("of the logger")

    async def block() -> None:
        assert begun.acquire(timeout=60)

    raising = Raising()
    logger = logging.getLogger("edgeloop.watch")
    logger.addHandler(raising)
    try:
        with edgeloop.watch(loop, 0.02):
            for _ in range(2):  # the second begins with the fourth report of its place, if not the third
                loop.run_until_complete(block())
    finally:
        logger.removeHandler(raising)


def test_a_task_without_a_name_is_told_by_its_class(loop: asyncio.AbstractEventLoop) -> None:
    class Nameless(asyncio.Task[None]):
        def get_name(self) -> str:
            raise ValueError

    reported = threading.Event()
    reports = Reports(reported.set)

    async def block() -> None:
        reported.wait(60)

    with edgeloop.watch(loop, 0.02, report=reports):
        loop.run_until_complete(Nameless(block(), loop=loop))
        assert reports.next().task == "Nameless"


def test_the_receiver_is_called_in_the_watching_thread_and_may_end_the_watch(loop: asyncio.AbstractEventLoop) -> None:
    called_in: list[str] = []
    stopped = threading.Event()

    def receive(report: Any) -> None:
        called_in.append(threading.current_thread().name)
        watchdog.stop()
        stopped.set()

    async def block() -> None:
        stopped.wait(60)

    watchdog = edgeloop.watch(loop, 0.02, report=receive)
    loop.run_until_complete(block())
    assert called_in == ["edgeloop-watchdog"]


def test_five_reports_a_minute_about_one_place() -> None:
    limiter = Limiter()
    answers = [limiter.ask("here", float(second)) for second in range(8)]
    assert answers == [(True, 0)] * 5 + [(False, 0)] * 3
    assert limiter.ask("elsewhere", 8.0) == (True, 0)
    assert limiter.ask("here", 60.0) == (True, 3), "those that were left out are told by the next one"
    assert limiter.next_summary() == math.inf


def test_what_was_left_out_is_told_when_nothing_follows() -> None:
    limiter = Limiter()
    for second in range(7):
        limiter.ask("here", float(second))
    assert limiter.next_summary() == 64.0
    assert limiter.summaries(63.0) == []
    assert limiter.summaries(64.0) == [("here", 2)]
    assert limiter.next_summary() == math.inf


def test_places_without_news_are_forgotten() -> None:
    limiter = Limiter()
    for number in range(MAX_PLACES):
        limiter.ask(f"place {number}", 0.0)
    limiter.ask("the last", 100.0)
    assert len(limiter._times) == 1


def test_reports_beyond_five_are_counted_in_a_watched_loop(loop: asyncio.AbstractEventLoop) -> None:
    passed = threading.Semaphore(0)

    class Counting(Reports):
        def __call__(self, report: Any) -> None:
            super().__call__(report)
            passed.release()

    reports = Counting()

    async def block() -> None:
        while not passed.acquire(timeout=0.5):
            if reports.seen.qsize() >= 5:
                return

    with edgeloop.watch(loop, 0.01, report=reports):
        for _ in range(5):
            loop.run_until_complete(block())
    assert reports.seen.qsize() == 5


def test_str_of_each_phase_is_a_sentence(loop: asyncio.AbstractEventLoop) -> None:
    lasts = threading.Event()
    begun, continues, ended = blocked(loop, lasts.wait, Reports(lasts.set, "continues"), 0.01)
    assert str(begun).startswith("the event loop has been blocked for 0.0")
    assert "in task 'the slow one'" in str(continues)
    assert str(ended).startswith("the event loop was blocked for ")
    assert str(ended).count("\n") == 0


def test_a_receiver_that_blocks_holds_up_neither_its_loop_nor_other_watches(loop: asyncio.AbstractEventLoop) -> None:
    entered, leave, other_reported = threading.Event(), threading.Event(), threading.Event()
    other = edgeloop.new_event_loop()

    def receive(report: Any) -> None:
        entered.set()
        leave.wait(60)

    async def block(until: threading.Event) -> None:
        assert until.wait(60)

    try:
        with edgeloop.watch(loop, 0.02, report=receive):
            loop.run_until_complete(block(entered))
            loop.run_until_complete(asyncio.sleep(0))
            edgeloop.watch(other, 0.02, report=lambda report: other_reported.set())
            other.run_until_complete(block(other_reported))
            assert not leave.is_set()
    finally:
        leave.set()
        other.close()
