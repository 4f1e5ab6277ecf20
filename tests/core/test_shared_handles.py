"""A handle of call_soon_threadsafe that another thread cancels (from Python 3.14 on), and handles that are run by hand."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any

import pytest
from recording import Run, record_errors, turn

shared = pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio's handles are not shared before Python 3.14")


@shared
def test_cancel_waits_for_a_callback_that_is_under_way(loop: asyncio.AbstractEventLoop) -> None:
    begun, order = threading.Event(), []

    def callback() -> None:
        begun.set()
        time.sleep(0.05)
        order.append("called")

    handle = loop.call_soon_threadsafe(callback)

    def cancel() -> None:
        begun.wait()
        handle.cancel()
        order.append("cancelled")

    thread = threading.Thread(target=cancel)
    thread.start()
    turn(loop)
    thread.join()
    assert order == ["called", "cancelled"]
    assert handle.cancelled()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio's handles are shared from Python 3.14 on")
def test_cancel_in_another_thread_waits_for_nothing(loop: asyncio.AbstractEventLoop) -> None:
    """So a callback may wait for that thread."""
    returned: list[bool] = []

    def callback() -> None:
        thread = threading.Thread(target=handle.cancel, daemon=True)
        thread.start()
        thread.join(10)
        returned.append(not thread.is_alive())

    handle = loop.call_soon_threadsafe(callback)
    turn(loop)
    assert returned == [True]


@shared
def test_what_a_thread_has_cancelled_is_not_called(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    cancelled: set[int] = set()
    wrong: list[int] = []
    called: list[int] = []
    interval = sys.getswitchinterval()

    def callback(number: int) -> None:
        called.append(number)
        if number in cancelled:
            wrong.append(number)

    def schedule() -> None:
        for number in range(2000):
            handle = loop.call_soon_threadsafe(callback, number)
            if number % 2:
                handle.cancel()
                cancelled.add(number)

    async def main() -> None:
        threads = [threading.Thread(target=schedule) for _ in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    sys.setswitchinterval(1e-6)
    try:
        run(main())
    finally:
        sys.setswitchinterval(interval)
    assert sum(1 for number in called if number % 2 == 0) == 3000


def test_a_handle_of_another_thread_may_be_cancelled_by_its_own_callback(loop: asyncio.AbstractEventLoop) -> None:
    called: list[bool] = []
    handles: list[asyncio.Handle] = []

    def callback() -> None:
        handles[0].cancel()
        called.append(handles[0].cancelled())

    handles.append(loop.call_soon_threadsafe(callback))
    turn(loop)
    assert called == [True]


@pytest.mark.parametrize("debug", [False, True])
def test_what_such_a_callback_raises_is_reported_with_its_handle(loop: asyncio.AbstractEventLoop, debug: bool) -> None:
    loop.set_debug(debug)
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    def failing(number: int) -> None:
        raise ZeroDivisionError(number)

    handle = loop.call_soon_threadsafe(failing, 5)
    assert isinstance(handle, asyncio.Handle)
    assert "failing" in repr(handle)
    assert ("test_shared_handles.py" in repr(handle).partition("created at")[2]) == debug
    turn(loop)
    (context,) = contexts
    assert context["handle"] is handle
    assert "failing(" in context["message"]
    assert isinstance(context["exception"], ZeroDivisionError)


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_what_leaves_the_loop_leaves_from_such_a_callback_too(
    loop: asyncio.AbstractEventLoop, leaving: type[BaseException]
) -> None:
    def leave() -> None:
        raise leaving

    loop.call_soon_threadsafe(leave)
    with pytest.raises(leaving):
        turn(loop)
    turn(loop)


def test_a_cancelled_handle_that_is_run_by_hand_reports_that(loop: asyncio.AbstractEventLoop) -> None:
    handles: list[Any] = [loop.call_soon(print), loop.call_later(5, print, 1), loop.call_at(5, print)]
    errors = record_errors(loop)
    for handle in handles:
        handle.cancel()
        handle._run()
    assert [type(context["exception"]) for context in errors] == [TypeError] * 3


def test_a_handle_that_is_run_by_hand_calls_back(loop: asyncio.AbstractEventLoop) -> None:
    called: list[Any] = []
    handles: list[Any] = [loop.call_soon(called.append, 1), loop.call_soon_threadsafe(called.append, 2)]
    for handle in handles:
        handle._run()
        handle.cancel()
    assert called == [1, 2]
    turn(loop)
    assert called == [1, 2]


def test_a_handle_whose_arguments_were_taken_away_does_no_harm(loop: asyncio.AbstractEventLoop) -> None:
    handle: Any = loop.call_soon(print)
    handle._args = None
    errors = record_errors(loop)
    called: list[int] = []
    loop.call_soon(called.append, 1)
    turn(loop)
    assert called == [1]
    assert len(errors) == 1


def test_a_slow_callback_of_another_thread_is_named(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    def slow_one() -> None:
        time.sleep(0.002)

    loop.set_debug(True)
    loop.slow_callback_duration = 0.001
    loop.call_soon_threadsafe(slow_one)
    turn(loop)
    assert any("slow_one" in record.getMessage() for record in caplog.records)
