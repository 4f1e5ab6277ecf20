"""edgeloop.watch: what blocks the loop is reported while it blocks, with what its thread does."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import zlib
from typing import Any

import pytest
from interpreters import needs_tasks_in_c
from watched_loops import ATTEMPTS, Reports, blocked, blocked_as

import edgeloop
from edgeloop.kernel import pulse

pytestmark = pytest.mark.edgeloop_only


def test_a_callback_that_runs_python_is_reported_while_it_runs(loop: asyncio.AbstractEventLoop) -> None:
    def attempt() -> list[Any]:
        reported = threading.Event()

        def compute() -> None:
            while not reported.is_set():
                pass

        return blocked(loop, compute, Reports(reported.set))

    begun, *_, ended = blocked_as("python", attempt)
    assert begun.phase == "begun"
    assert begun.task == "the slow one"
    assert [name.rpartition(".")[2] for name in begun.coroutines] == ["handler"]
    assert " in compute" in begun.place
    assert "in handler" in begun.stack
    assert "run_until_complete" not in begun.stack, "the frames below the loop's are left out"
    assert begun.system_call is None
    assert ended.seconds >= begun.seconds >= 0.02
    assert begun.native_thread == threading.get_native_id()


def test_a_system_call_is_named(loop: asyncio.AbstractEventLoop) -> None:
    reader, writer = os.pipe()
    try:
        begun, *_ = blocked_as(
            "system call",
            lambda: blocked(loop, lambda: os.read(reader, 1), Reports(lambda: os.write(writer, b"."))),
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert begun.system_call == "read"
    assert "os.read" in begun.stack
    assert "it waits in a system call (read)" in str(begun)


def test_a_lock_is_a_wait_in_futex(loop: asyncio.AbstractEventLoop) -> None:
    def attempt() -> list[Any]:
        lock = threading.Semaphore(0)
        return blocked(loop, lock.acquire, Reports(lock.release))

    begun, *_ = blocked_as("system call", attempt)
    assert begun.system_call == "futex"
    assert "watched_loops.py" in begun.place or "test_watchdog.py" in begun.place, "not the library's threading.py"


@pytest.mark.follows_collections
def test_a_garbage_collection_is_told_from_what_it_interrupts(loop: asyncio.AbstractEventLoop) -> None:
    class Cycle:
        def __init__(self, reported: threading.Event) -> None:
            self.itself = self
            self.reported = reported

        def __del__(self) -> None:
            self.reported.wait(60)  # within the collection

    def attempt() -> list[Any]:
        reported = threading.Event()

        def collect() -> None:
            Cycle(reported)
            gc.collect()

        return blocked(loop, collect, Reports(reported.set))

    begun, *_, ended = blocked_as("garbage collection", attempt)
    assert "it collects garbage" in str(begun)
    assert 0 < begun.gc_seconds <= ended.gc_seconds <= ended.seconds
    assert "collecting garbage" in str(ended)


@pytest.mark.skipif(not pulse.LOOKS_WITHOUT_LOCK, reason="the pure edition can't tell it from Python")
def test_native_code_that_has_released_the_lock_is_told_from_python(loop: asyncio.AbstractEventLoop) -> None:
    data = os.urandom(1 << 25)

    def attempt() -> list[Any]:
        reported = threading.Event()

        def compress() -> None:
            while not reported.is_set():
                zlib.crc32(data)

        return blocked(loop, compress, Reports(reported.set))

    for _ in range(ATTEMPTS):
        begun = attempt()[0]
        if begun.kind == "native code, lock free":
            assert "compress" in begun.place
            return
        assert begun.kind in ("python", "not scheduled", "system call"), begun
    pytest.skip("this machine is so busy that a thread gets no processor for 20 ms, and then the two look alike")


def test_ten_times_the_threshold_and_the_end_are_reported_too(loop: asyncio.AbstractEventLoop) -> None:
    lasts = threading.Event()
    found = blocked(loop, lasts.wait, Reports(lasts.set, "continues"), 0.01)
    assert [report.phase for report in found] == ["begun", "continues", "ended"]
    assert 0.01 <= found[0].seconds <= found[1].seconds <= found[2].seconds
    assert found[1].seconds >= 0.1


@needs_tasks_in_c
def test_a_turn_of_many_short_callbacks_is_reported(loop: asyncio.AbstractEventLoop) -> None:
    reported = threading.Event()

    class OfTheBatch(Reports):
        def __call__(self, report: Any) -> None:
            # On a busy machine the turn before it, of the task, may be too long too, and a paused machine is told as a stop.
            if report.task is None and report.phase != "stopped":
                super().__call__(report)

    reports = OfTheBatch(reported.set)

    def short() -> None:
        reported.wait(0.02)

    async def main() -> None:
        running = asyncio.get_running_loop()
        for _ in range(3000):  # a minute at most
            running.call_soon(short)
        await asyncio.sleep(0)

    with edgeloop.watch(loop, 0.05, report=reports):
        loop.run_until_complete(main())
        begun = reports.next()
    assert begun.phase == "begun"
    assert begun.task is None
    assert begun.coroutines == ()


def test_a_loop_that_is_blocked_already_can_be_watched(loop: asyncio.AbstractEventLoop) -> None:
    entered, reported = threading.Event(), threading.Event()
    reports = Reports(reported.set)

    def block() -> None:
        entered.set()
        reported.wait(60)

    def watch() -> None:
        entered.wait(60)
        watchdogs.append(edgeloop.watch(loop, 0.02, report=reports))

    watchdogs: list[Any] = []
    other = threading.Thread(target=watch)
    other.start()

    async def main() -> None:
        block()

    loop.run_until_complete(main())
    other.join()
    begun = reports.next()
    assert "in block" in begun.stack
    assert begun.native_thread == threading.get_native_id()
    watchdogs[0].stop()


def test_a_loop_that_sleeps_and_short_turns_are_not_reported(loop: asyncio.AbstractEventLoop) -> None:
    reports = Reports()

    async def main() -> None:
        for _ in range(20):
            await asyncio.sleep(0.01)

    with edgeloop.watch(loop, 60.0, report=reports):
        loop.run_until_complete(main())
    assert reports.seen.empty()


def test_debug_mode_warns_of_a_slow_callback_as_it_did(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(True)
    loop.slow_callback_duration = 0.02
    lasts = threading.Event()
    blocked(loop, lasts.wait, Reports(lasts.set), 0.03)
    assert [record for record in caplog.records if "Executing <Task" in record.getMessage()]
