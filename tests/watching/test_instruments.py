"""Instruments: what a loop tells them of its callbacks and waits, when they come and go, and what becomes of a failing one."""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from recording import Run, record_errors, turn, turns

import edgeloop

pytestmark = pytest.mark.edgeloop_only

METHODS = ["before_wait", "after_wait", "before_callback", "after_callback"]


class Recorded:
    """Has the methods that are named, and keeps what each was called with."""

    def __init__(self, *names: str) -> None:
        self.calls: list[tuple[str, Any]] = []
        for name in names or METHODS:
            setattr(self, name, lambda *args, name=name: self.calls.append((name, *args)))

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


class Named(edgeloop.Instrument):
    """Keeps whose callbacks have run."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []

    def before_callback(self, handle: asyncio.Handle) -> None:
        self.begun.append(self.describe(handle))

    def after_callback(self, handle: asyncio.Handle) -> None:
        self.ended.append(self.describe(handle))


@pytest.fixture
def loop(loop: Any) -> Any:
    """Its methods of instruments are none of AbstractEventLoop's."""
    return loop


def test_a_callback_is_told_before_and_after_it(loop: Any) -> None:
    instrument = Recorded("before_callback", "after_callback")
    loop.add_instrument(instrument)
    done: list[list[str]] = []
    handle = loop.call_soon(lambda: done.append(instrument.names()))
    turn(loop)
    assert done == [["before_callback"]]
    assert instrument.calls == [("before_callback", handle), ("after_callback", handle)]


def test_each_of_a_batch_is_told(loop: Any) -> None:
    instrument = Recorded("before_callback", "after_callback")
    loop.add_instrument(instrument)
    handles = [loop.call_soon(int) for _ in range(3)] + [loop.call_later(0, int)]
    turn(loop, 2)
    assert [call[1] for call in instrument.calls] == [handle for handle in handles for _ in range(2)]


def test_a_cancelled_callback_is_not_told(loop: Any) -> None:
    instrument = Recorded("before_callback", "after_callback")
    loop.add_instrument(instrument)
    loop.call_soon(int).cancel()
    turn(loop)
    assert instrument.calls == []


def test_the_end_of_a_callback_that_raises_is_told_after_the_report(loop: Any) -> None:
    errors = record_errors(loop)
    seen: list[int] = []

    class Instrument:
        def after_callback(self, handle: asyncio.Handle) -> None:
            seen.append(len(errors))

    loop.add_instrument(Instrument())
    loop.call_soon(lambda: 1 / 0)
    turn(loop)
    assert seen == [1]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_the_end_of_a_callback_that_interrupts_the_loop_is_told(loop: Any, interruption: type[BaseException]) -> None:
    instrument = Recorded("before_callback", "after_callback")
    loop.add_instrument(instrument)

    def interrupt() -> None:
        raise interruption

    loop.call_soon(interrupt)
    later: list[int] = []
    loop.call_soon(later.append, 1)
    with pytest.raises(interruption):
        loop.run_forever()
    assert instrument.names() == ["before_callback", "after_callback"]
    turn(loop)
    assert later == [1]


def test_the_handle_of_another_thread_is_the_one_that_it_has(loop: Any) -> None:
    instrument = Recorded("before_callback")
    given: list[asyncio.Handle] = []

    async def main() -> None:
        loop.add_instrument(instrument)
        await asyncio.to_thread(lambda: given.append(loop.call_soon_threadsafe(int)))
        await turns(2)

    loop.run_until_complete(main())
    assert given[0] in [call[1] for call in instrument.calls]


def test_a_wait_is_told_with_its_timeout_and_its_events(loop: Any) -> None:
    instrument = Recorded("before_wait", "after_wait")
    loop.add_instrument(instrument)
    loop.call_soon(int)
    turn(loop)  # it is to end at once: no sleep
    assert instrument.calls == [("before_wait", 0.0), ("after_wait", 0)]
    instrument.calls.clear()
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    timeout = instrument.calls[0][1]
    assert 0 < timeout <= 0.01
    instrument.calls.clear()
    loop.run_in_executor(None, loop.call_soon_threadsafe, loop.stop)
    loop.run_forever()
    assert instrument.names() == ["before_wait", "after_wait"] * (len(instrument.calls) // 2)
    assert all(call[1] is None or call[1] == 0.0 for call in instrument.calls[::2])


def test_what_an_instrument_schedules_before_a_wait_is_not_slept_over(loop: Any) -> None:
    class Instrument:
        def before_wait(self, timeout: float | None) -> None:
            if timeout is None:
                loop.call_soon(loop.stop)

    loop.add_instrument(Instrument())
    loop.run_forever()  # the test ends by its time limit if not


def test_methods_that_are_inherited_are_not_called(loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = Named()
    loop.add_instrument(instrument)
    called: list[Any] = []
    monkeypatch.setattr(edgeloop.Instrument, "before_wait", called.append)
    loop.call_soon(int)
    turn(loop)
    assert (len(instrument.begun), called) == (1, [])


def test_what_has_no_method_is_no_instrument(loop: Any) -> None:
    with pytest.raises(TypeError, match="before_callback"):
        loop.add_instrument(object())
    with pytest.raises(TypeError, match="before_wait"):
        loop.add_instrument(edgeloop.Instrument())
    with pytest.raises(TypeError, match="must be callable"):
        loop.add_instrument(type("Wrong", (), {"before_wait": 1})())


def test_an_instrument_is_there_once(loop: Any) -> None:
    instrument = Recorded("before_callback")
    loop.add_instrument(instrument)
    loop.add_instrument(instrument)
    loop.call_soon(int)
    turn(loop)
    assert len(instrument.calls) == 1
    loop.remove_instrument(instrument)
    with pytest.raises(KeyError):
        loop.remove_instrument(instrument)
    loop.call_soon(int)
    turn(loop)
    assert len(instrument.calls) == 1


def test_a_closed_loop_takes_no_instrument(loop: Any) -> None:
    loop.add_instrument(Recorded())
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.add_instrument(Recorded())


def test_an_instrument_that_comes_within_a_callback_is_told_of_the_next_one(loop: Any) -> None:
    instrument = Recorded("before_callback", "after_callback")
    first = Recorded("before_callback", "after_callback")
    for others in ([], [first]):
        for other in others:
            loop.add_instrument(other)
        loop.call_soon(loop.add_instrument, instrument)
        following = loop.call_soon(int)
        turn(loop)
        assert instrument.calls == [("before_callback", following), ("after_callback", following)]
        loop.remove_instrument(instrument)
        instrument.calls.clear()


def test_an_instrument_that_goes_within_a_callback_is_told_nothing_more(loop: Any) -> None:
    instrument = Recorded("before_callback", "after_callback")
    loop.add_instrument(instrument)
    loop.call_soon(loop.remove_instrument, instrument)
    loop.call_soon(int)
    turn(loop)
    assert instrument.names() == ["before_callback"]


def test_an_instrument_may_remove_itself_and_add_another(loop: Any) -> None:
    following = Recorded("before_callback", "after_callback")

    class Instrument:
        def before_callback(self, handle: asyncio.Handle) -> None:
            loop.remove_instrument(self)
            loop.add_instrument(following)

    loop.add_instrument(Instrument())
    loop.call_soon(int)
    last = loop.call_soon(int)
    turn(loop)
    assert [call[1] for call in following.calls] == [last, last]


@pytest.mark.parametrize("name", METHODS)
def test_an_instrument_may_remove_another_that_would_be_told_next(loop: Any, name: str) -> None:
    before, after = Recorded(name), Recorded(name)
    removed = Recorded()
    done: list[bool] = []

    def remove(*args: Any) -> None:
        if not done:
            done.append(True)
            loop.remove_instrument(removed)

    removing = type("Removing", (), {name: staticmethod(remove)})()
    for instrument in (before, removing, removed, after):
        loop.add_instrument(instrument)
    loop.call_soon(int)
    turn(loop)
    loop.call_soon(int)
    turn(loop)
    assert name not in removed.names()
    assert len(before.calls) == len(after.calls) >= 2
    with pytest.raises(KeyError):
        loop.remove_instrument(removed)


@pytest.mark.parametrize("name", METHODS)
def test_an_instrument_that_raises_is_removed_and_reported_once(loop: Any, name: str) -> None:
    errors = record_errors(loop)
    other = Recorded(name)
    failure = ValueError("of the instrument")

    def fail(*args: Any) -> None:
        raise failure

    instrument = type("Failing", (), {name: staticmethod(fail)})()
    loop.add_instrument(instrument)
    loop.add_instrument(other)
    ran: list[int] = []
    for number in range(3):
        loop.call_soon(ran.append, number)
        turn(loop)
    assert ran == [0, 1, 2]
    assert len(other.calls) == 3
    assert [(error["exception"], error["instrument"]) for error in errors] == [(failure, instrument)]
    assert errors[0]["message"].startswith(f"{name}() of an instrument")
    with pytest.raises(KeyError):
        loop.remove_instrument(instrument)


@pytest.mark.parametrize("name", METHODS)
def test_ctrl_c_in_an_instrument_leaves_the_loop_and_loses_no_callback(loop: Any, name: str) -> None:
    other = Recorded(name)
    interrupt = type("Interrupting", (), {name: lambda *args: signal.raise_signal(signal.SIGINT)})()
    loop.add_instrument(interrupt)
    loop.add_instrument(other)
    ran: list[int] = []
    for number in range(3):
        loop.call_soon(ran.append, number)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.remove_instrument(interrupt)
    turn(loop, 2)
    assert ran == [0, 1, 2]
    assert len(other.calls) >= 1


def test_debug_mode_blames_no_callback_for_its_instruments(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_debug(True)
    loop.slow_callback_duration = 0.05

    class Slow:
        def before_callback(self, handle: asyncio.Handle) -> None:
            end = loop.time() + 0.1
            while loop.time() < end:
                pass

        after_callback = before_callback

    loop.add_instrument(Slow())
    ran: list[float] = []
    loop.call_soon(ran.append, 1.0)
    turn(loop)
    assert ran and not [record for record in caplog.records if "Executing" in record.message]


def test_a_callback_is_described_by_its_task_or_its_function(loop: Any, run: Run) -> None:
    instrument = Named()

    async def work() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        loop.add_instrument(instrument)
        task = asyncio.create_task(work(), name="worker")
        loop.call_soon(list.copy, [])
        await task

    run(main())
    assert "worker test_a_callback_is_described_by_its_task_or_its_function.<locals>.work()" in instrument.begun
    assert "list.copy" in instrument.begun
    assert instrument.ended


def test_a_loop_without_instruments_is_as_before(loop: Any) -> None:
    instrument = Recorded()
    loop.add_instrument(instrument)
    loop.remove_instrument(instrument)
    assert loop.reactor.observer is None


@pytest.mark.counts_references
def test_an_instrument_does_not_keep_its_closed_loop(loop_factory: Callable[[], Any]) -> None:
    instrument = Recorded()
    before = sys.getrefcount(instrument)
    loop = loop_factory()
    loop.add_instrument(instrument)
    loop.close()
    assert sys.getrefcount(instrument) == before


def test_a_partial_is_described_by_what_it_calls(loop: Any) -> None:
    instrument = Named()
    loop.add_instrument(instrument)
    loop.call_soon(functools.partial(turn, times=0), loop)
    turn(loop)
    assert instrument.begun == ["turn"]
    loop.remove_instrument(instrument)


def test_debug_mode_refuses_another_thread_s_instruments(loop: Any, run: Run) -> None:
    instrument = Recorded()
    loop.set_debug(True)

    async def main() -> None:
        for change in (loop.add_instrument, loop.remove_instrument):
            with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
                await loop.run_in_executor(None, change, instrument)

    run(main())
    loop.add_instrument(instrument)
    loop.remove_instrument(instrument)
    with pytest.raises(KeyError):
        loop.remove_instrument(instrument)


def test_an_instrument_that_removes_itself_and_fails_is_reported(loop: Any) -> None:
    errors = record_errors(loop)

    class Once:
        def before_callback(self, handle: asyncio.Handle) -> None:
            loop.remove_instrument(self)
            raise ValueError("once")

    loop.add_instrument(Once())
    loop.call_soon(int)
    turn(loop, 2)
    assert [str(error["exception"]) for error in errors] == ["once"]


def test_a_callback_that_an_instrument_cancels_is_not_called(loop: Any) -> None:
    called: list[int] = []

    class Canceller:
        def before_callback(self, handle: asyncio.Handle) -> None:
            handle.cancel()

    instrument = Canceller()
    loop.add_instrument(instrument)
    loop.call_soon(called.append, 1)
    turn(loop)
    loop.remove_instrument(instrument)
    loop.call_soon(called.append, 2)
    turn(loop)
    assert called == [2]
