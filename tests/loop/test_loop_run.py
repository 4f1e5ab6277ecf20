"""Starting, stopping and closing a loop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable

import pytest
from recording import Run, record_errors


def test_is_an_abstract_event_loop(loop: asyncio.AbstractEventLoop) -> None:
    assert isinstance(loop, asyncio.AbstractEventLoop)


def test_states_of_a_loop(loop: asyncio.AbstractEventLoop) -> None:
    seen = []
    assert not loop.is_running()
    assert not loop.is_closed()
    loop.call_soon(lambda: seen.append((loop.is_running(), loop.is_closed())))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [(True, False)]
    assert not loop.is_running()
    loop.close()
    assert loop.is_closed()
    assert not loop.is_running()
    loop.close()


def test_repr_names_the_state(loop: asyncio.AbstractEventLoop) -> None:
    assert "running=False closed=False debug=False" in repr(loop)
    loop.close()
    assert "closed=True" in repr(loop)


def test_running_loop_is_set_only_while_running(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[asyncio.AbstractEventLoop] = []
    loop.call_soon(lambda: seen.append(asyncio.get_running_loop()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [loop]
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_stop_before_run_gives_one_turn(loop: asyncio.AbstractEventLoop) -> None:
    order: list[str] = []

    def first() -> None:
        order.append("first")
        loop.call_soon(order.append, "second")

    loop.call_soon(first)
    loop.stop()
    loop.run_forever()
    assert order == ["first"]
    loop.stop()
    loop.run_forever()
    assert order == ["first", "second"]


def test_stop_lets_the_scheduled_callbacks_of_this_turn_run(loop: asyncio.AbstractEventLoop) -> None:
    order: list[str] = []
    loop.call_soon(loop.stop)
    loop.call_soon(order.append, "same turn")
    loop.run_forever()
    assert order == ["same turn"]


def test_stop_from_another_thread(loop: asyncio.AbstractEventLoop) -> None:
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(loop.stop))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()


def test_run_until_complete_returns_the_result(loop: asyncio.AbstractEventLoop) -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert loop.run_until_complete(answer()) == 42
    future = loop.create_future()
    loop.call_soon(future.set_result, "future")
    assert loop.run_until_complete(future) == "future"


def test_run_until_complete_raises_the_exception(loop: asyncio.AbstractEventLoop) -> None:
    async def fail() -> None:
        raise LookupError("from the coroutine")

    with pytest.raises(LookupError, match="from the coroutine"):
        loop.run_until_complete(fail())


def test_run_until_complete_of_a_done_future(loop: asyncio.AbstractEventLoop) -> None:
    future = loop.create_future()
    future.set_result(1)
    assert loop.run_until_complete(future) == 1


def test_run_until_complete_stopped_early(loop: asyncio.AbstractEventLoop) -> None:
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(future)
    # The stop callback of the interrupted run must not stop the next one.
    future.set_result(None)
    assert loop.run_until_complete(asyncio.sleep(0, "again")) == "again"


def test_run_until_complete_of_another_loops_future(
    loop: asyncio.AbstractEventLoop, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    other = loop_factory()
    try:
        future = other.create_future()
        with pytest.raises(ValueError, match="The future belongs to a different loop"):
            loop.run_until_complete(future)
    finally:
        other.close()


def test_nested_run_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    async def nest() -> None:
        future = loop.create_future()
        with pytest.raises(RuntimeError, match=r"^This event loop is already running$"):
            loop.run_until_complete(future)
        assert loop.is_running()

    loop.run_until_complete(nest())


@pytest.mark.edgeloop_only
def test_nested_run_forever_is_refused_and_harmless(loop: asyncio.AbstractEventLoop) -> None:
    """The standard loop of 3.13.0 forgets that it is running when it refuses; its run_until_complete then hangs."""

    async def nest() -> None:
        with pytest.raises(RuntimeError, match=r"^This event loop is already running$"):
            loop.run_forever()
        assert loop.is_running()
        assert asyncio.get_running_loop() is loop

    loop.run_until_complete(nest())


def test_run_inside_another_running_loop_is_refused(
    loop: asyncio.AbstractEventLoop, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    other = loop_factory()

    async def nest() -> None:
        future = other.create_future()
        with pytest.raises(RuntimeError, match=r"^Cannot run the event loop while another loop is running$"):
            other.run_until_complete(future)
        assert asyncio.get_running_loop() is loop

    loop.run_until_complete(nest())
    other.close()


def test_close_while_running_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    async def close() -> None:
        with pytest.raises(RuntimeError, match=r"^Cannot close a running event loop$"):
            loop.close()

    loop.run_until_complete(close())
    assert not loop.is_closed()


def test_a_closed_loop_refuses_work(loop: asyncio.AbstractEventLoop) -> None:
    loop.close()
    refused: list[Callable[[], object]] = [
        loop.run_forever,
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(loop.time() + 1, print),
        lambda: loop.run_in_executor(None, print),
        lambda: loop.add_reader(0, print),
        lambda: loop.add_writer(0, print),
        lambda: loop.add_signal_handler(signal.SIGUSR1, print),
    ]
    for call in refused:
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            call()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_closed_loop_refuses_coroutines(loop: asyncio.AbstractEventLoop) -> None:
    loop.close()
    for start in (loop.run_until_complete, loop.create_task):
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            start(coroutine)
        del coroutine


def test_generators_of_a_closed_loop_are_shut_down_under_the_name_that_tools_know(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """pytest-asyncio silences just this warning, for tests that close the loop under its Runner."""
    loop.close()
    with pytest.warns(RuntimeWarning, match=r"^coroutine 'BaseEventLoop\.shutdown_asyncgens' was never awaited"):
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            loop.run_until_complete(loop.shutdown_asyncgens())
        gc.collect()


def test_close_drops_what_was_scheduled(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    loop.call_soon(called.append, 1)
    loop.call_later(0, called.append, 2)
    loop.close()
    assert called == []


def test_stop_and_time_work_on_a_closed_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.close()
    loop.stop()
    assert loop.remove_reader(0) is False
    assert loop.remove_writer(0) is False
    assert loop.time() > 0


class Base(BaseException):
    pass


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exit_out_of_a_callback_leaves_the_loop_usable(
    loop: asyncio.AbstractEventLoop, kind: type[BaseException]
) -> None:
    order: list[str] = []

    def interrupt() -> None:
        raise kind("out of a callback")

    loop.call_soon(order.append, "before")
    loop.call_soon(interrupt)
    loop.call_soon(order.append, "after")
    loop.call_later(0, order.append, "timer")
    with pytest.raises(kind, match="out of a callback"):
        loop.run_forever()
    assert order == ["before"]
    assert not loop.is_running()
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert order == ["before", "after", "timer"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exit_out_of_a_task(loop: asyncio.AbstractEventLoop, kind: type[BaseException]) -> None:
    async def interrupt() -> None:
        raise kind("out of a task")

    with pytest.raises(kind, match="out of a task"):
        loop.run_until_complete(interrupt())
    assert loop.run_until_complete(asyncio.sleep(0, "usable")) == "usable"


def test_other_base_exceptions_go_to_the_exception_handler(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)

    def fail() -> None:
        raise Base("neither Exception nor an exit")

    loop.call_soon(fail)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert [type(context["exception"]) for context in contexts] == [Base]


def test_cancelled_error_out_of_a_callback_is_reported(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)

    def fail() -> None:
        raise asyncio.CancelledError

    loop.call_soon(fail)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert [type(context["exception"]) for context in contexts] == [asyncio.CancelledError]


def test_time_is_the_monotonic_clock(loop: asyncio.AbstractEventLoop) -> None:
    before = time.monotonic()
    now = loop.time()
    assert before <= now <= time.monotonic()


def test_coroutines_after_an_exception_keep_the_hooks(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    before = sys.get_asyncgen_hooks()

    async def fail() -> None:
        assert sys.get_asyncgen_hooks() != before
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        run(fail())
    assert sys.get_asyncgen_hooks() == before


def test_a_turn_of_ones_own(loop: asyncio.AbstractEventLoop) -> None:
    """Tools put their own ``_run_once`` around the loop's, on the instance or in a subclass."""
    turns: list[str] = []
    theirs: Callable[[], None] = loop._run_once  # type: ignore[attr-defined]

    def counted() -> None:
        turns.append("instance")
        theirs()

    loop._run_once = counted  # type: ignore[attr-defined]
    loop.run_until_complete(asyncio.sleep(0))
    assert turns

    class Counting(type(loop)):  # type: ignore[misc]  # the class of the loop under test
        def _run_once(self) -> None:
            turns.append("subclass")
            super()._run_once()

    counting = Counting()
    try:
        counting.run_until_complete(asyncio.sleep(0))
    finally:
        counting.close()
    assert turns[-1] == "subclass"
