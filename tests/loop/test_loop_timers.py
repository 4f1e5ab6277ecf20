"""call_later and call_at: deadlines, order, cancelling, and what a TimerHandle can do."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import sys
from typing import Any

import pytest
from recording import Run

import edgeloop


def test_never_early_by_the_loops_own_clock(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> list[float]:
        early: list[float] = []
        for _ in range(20):
            for delay in (0.0, 0.00005, 0.0002, 0.0005, 0.001, 0.0015, 0.003):
                due = loop.create_future()
                when = loop.time() + delay
                loop.call_at(when, lambda due=due: due.set_result(loop.time()))  # type: ignore[misc]
                early.append(await due - when)
        return [lateness for lateness in early if lateness < 0]

    assert run(main()) == []


async def test_sleep_is_never_early(loop: asyncio.AbstractEventLoop) -> None:
    for _ in range(50):
        before = loop.time()
        await asyncio.sleep(0.0002)
        assert loop.time() - before >= 0.0002


def test_call_later_is_relative_to_the_loops_clock(loop: asyncio.AbstractEventLoop) -> None:
    before = loop.time()
    handle = loop.call_later(10, print)
    assert before + 10 <= handle.when() <= loop.time() + 10
    handle.cancel()


def test_deadline_order(loop: asyncio.AbstractEventLoop) -> None:
    order: list[int] = []
    base = loop.time()
    numbers = list(range(300))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        loop.call_at(base + number * 0.00005, order.append, number)
    loop.call_at(base + 0.02, loop.stop)
    loop.run_forever()
    assert order == list(range(300))


def test_past_deadlines_run_in_deadline_order(loop: asyncio.AbstractEventLoop) -> None:
    order: list[int] = []
    base = loop.time()
    for number in (3, 1, 2, 0):
        loop.call_at(base - 10 + number, order.append, number)
    loop.call_at(base, loop.stop)
    loop.run_forever()
    assert order == [0, 1, 2, 3]


def test_negative_delay_is_due_at_once(loop: asyncio.AbstractEventLoop) -> None:
    order: list[str] = []
    loop.call_later(0, order.append, "zero")
    loop.call_later(-1, order.append, "negative")
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert order == ["negative", "zero"]


@pytest.mark.edgeloop_only
def test_equal_deadlines_run_in_the_order_of_the_calls(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio leaves the order of equal deadlines undefined."""
    order: list[int] = []
    when = loop.time() + 0.001
    for number in range(200):
        loop.call_at(when, order.append, number)
    loop.call_at(when, loop.stop)
    loop.run_forever()
    assert order == list(range(200))


def test_ready_callbacks_run_before_timers_that_come_due(loop: asyncio.AbstractEventLoop) -> None:
    order: list[str] = []
    loop.call_later(0, order.append, "timer")
    loop.call_soon(order.append, "soon")
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert order == ["soon", "timer"]


def test_a_timer_that_reschedules_itself(loop: asyncio.AbstractEventLoop) -> None:
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(loop.time())
        if len(ticks) < 10:
            loop.call_later(0.0005, tick)
        else:
            loop.stop()

    loop.call_soon(tick)
    loop.run_forever()
    assert all(later - earlier >= 0.0005 for earlier, later in itertools.pairwise(ticks))


def test_cancelled_timers_do_not_run(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    handles = [loop.call_later(0.001, called.append, number) for number in range(1000)]
    for number, handle in enumerate(handles):
        if number % 100:
            handle.cancel()
    loop.call_later(0.002, loop.stop)
    loop.run_forever()
    assert sorted(called) == list(range(0, 1000, 100))


def test_cancelling_many_distant_timers(loop: asyncio.AbstractEventLoop) -> None:
    called: list[str] = []
    handles = [loop.call_later(3600 + number, called.append, "distant") for number in range(20_000)]
    for handle in handles:
        handle.cancel()
    assert all(handle.cancelled() for handle in handles)
    loop.call_later(0.001, called.append, "near")
    loop.call_later(0.002, loop.stop)
    loop.run_forever()
    assert called == ["near"]


def test_cancelling_in_the_turn_that_set_it_and_later(loop: asyncio.AbstractEventLoop) -> None:
    """Two thousand of each, many more than are due, so that the heap is cleared of the cancelled ones on the way."""
    called: list[int] = []
    at_once = [loop.call_later(3600, called.append, -1) for _ in range(2000)]
    later = [loop.call_later(0.001, called.append, -2) for _ in range(2000)]
    for handle in at_once:
        handle.cancel()

    def second_turn() -> None:
        for handle in later:
            handle.cancel()
        for handle in at_once:
            handle.cancel()  # a second time: counted once
        for number in range(10):
            loop.call_later(0.002, called.append, number)
        loop.call_later(0.004, loop.stop)

    loop.call_soon(second_turn)
    loop.run_forever()
    assert called == list(range(10))


@pytest.mark.edgeloop_only
def test_equal_deadlines_set_over_several_turns_run_in_that_order(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    due = loop.time() + 0.01

    def turn(number: int) -> None:
        loop.call_at(due, called.append, number)
        loop.call_at(due, called.append, number + 1)
        if number < 8:
            loop.call_soon(turn, number + 2)

    turn(0)
    loop.call_at(due + 0.001, loop.stop)
    loop.run_forever()
    assert called == list(range(10))


def test_cancel_by_a_timer_of_the_same_turn(loop: asyncio.AbstractEventLoop) -> None:
    called: list[str] = []
    base = loop.time()
    second: asyncio.TimerHandle
    loop.call_at(base, lambda: second.cancel())
    second = loop.call_at(base + 1e-9, called.append, "second")
    loop.call_at(base + 2e-9, called.append, "third")
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert called == ["third"]


def test_cancel_after_the_timer_ran(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    handle = loop.call_later(0, called.append, 1)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    handle.cancel()
    assert called == [1]
    assert handle.cancelled()


def test_timer_set_while_the_loop_sleeps_on_a_later_one(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> str:
        distant = loop.call_later(3600, print)
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.sleep(0.001, "slept")), 30)
        finally:
            distant.cancel()

    assert run(main()) == "slept"


def test_a_distant_deadline_does_not_overflow(loop: asyncio.AbstractEventLoop) -> None:
    handles = [loop.call_later(delay, print) for delay in (1e9, 1e15, 1e300, float("inf"))]
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    for handle in handles:
        handle.cancel()


def test_timer_handle_type(loop: asyncio.AbstractEventLoop) -> None:
    for handle in (loop.call_later(0, print), loop.call_later(10, print), loop.call_at(loop.time(), print)):
        assert isinstance(handle, asyncio.TimerHandle)
        assert isinstance(handle, asyncio.Handle)
        assert not handle.cancelled()
        handle.cancel()
        assert handle.cancelled()


def test_when(loop: asyncio.AbstractEventLoop) -> None:
    when = loop.time() + 5
    handle = loop.call_at(when, print)
    assert handle.when() == when
    handle.cancel()
    assert handle.when() == when


def test_timer_handle_repr(loop: asyncio.AbstractEventLoop) -> None:
    when = loop.time() + 5
    handle = loop.call_at(when, print)
    assert repr(handle).startswith(f"<TimerHandle when={when} ")
    assert "print" in repr(handle)
    handle.cancel()
    assert repr(handle) == f"<TimerHandle cancelled when={when}>"


def test_timer_handles_compare_by_deadline(loop: asyncio.AbstractEventLoop) -> None:
    base = loop.time() + 100
    early: Any = loop.call_at(base, print)
    late: Any = loop.call_at(base + 1, print)
    same: Any = loop.call_at(base, print)
    assert early < late
    assert late > early
    assert early <= late
    assert late >= early
    assert early <= same
    assert early >= same
    assert not early < same
    assert not early > same
    assert early == same
    assert early != late
    assert hash(early) == hash(same)
    same.cancel()
    assert early != same
    for value in (early == 1, early is None):
        assert value is False
    with pytest.raises(TypeError):
        assert early < 1
    for handle in (early, late):
        handle.cancel()


def test_equal_only_with_the_same_callback_and_arguments(loop: asyncio.AbstractEventLoop) -> None:
    base = loop.time() + 100
    handles = [loop.call_at(base, print), loop.call_at(base, repr, 1), loop.call_at(base, repr, 2)]
    assert len({id(handle) for handle in handles}) == 3
    assert handles[0] != handles[1]
    assert handles[1] != handles[2]
    assert handles[1] == loop.call_at(base, repr, 1)
    for handle in handles:
        handle.cancel()


def test_deadline_none_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match=r"^delay must not be None$"):
        loop.call_later(nothing, print)
    with pytest.raises(TypeError, match=r"^when cannot be None$"):
        loop.call_at(nothing, print)


def test_deadline_of_a_wrong_type_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    text: Any = "soon"
    with pytest.raises(TypeError):
        loop.call_later(text, print)


def test_integers_and_bools_are_deadlines(loop: asyncio.AbstractEventLoop) -> None:
    called: list[str] = []
    loop.call_later(0, called.append, "integer")
    loop.call_at(0, called.append, "epoch")
    loop.call_later(False, called.append, "bool")
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert sorted(called) == ["bool", "epoch", "integer"]


async def test_wait_for_and_timeout(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(60), 0.001)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)
    async with asyncio.timeout(60) as limit:
        await asyncio.sleep(0)
    assert not limit.expired()


def test_timers_go_by_a_clock_that_is_put_in_place_of_the_loops(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on asyncio: tests replace ``time`` to have what is due in an hour happen now."""

    async def main() -> list[str]:
        calls: list[str] = []
        loop.call_later(3600, calls.append, "an hour")
        base = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: base + 3601)
            assert loop.call_later(10, print).when() == base + 3611
            while not calls:
                await asyncio.sleep(0)
            loop.call_later(5, calls.append, "not yet")
        assert loop.time() < base + 3600
        await asyncio.sleep(0.001)
        return calls

    # Not by the fixture that limits the time: its limit would have come too.
    assert loop.run_until_complete(main()) == ["an hour"]


def test_a_loop_makes_no_dict_for_itself(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    # Without one its methods are found without a look at it, which is a tenth of a call_soon.
    if edgeloop.EDITION == "pure":
        pytest.skip("a Python object's attributes are in its __dict__")
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.set_exception_handler(None)

    async def main() -> None:
        await asyncio.to_thread(print)
        await loop.getaddrinfo("localhost", 80)
        await loop.shutdown_default_executor()

    run(main())
    ours = {"_in_dict": True} if sys.version_info < (3, 12) else {}
    assert vars(loop) == ours
    loop.mark = 1  # type: ignore[attr-defined]  # but there is one for what its owner sets
    assert vars(loop) == ours | {"mark": 1}


def test_a_timer_is_due_when_the_clock_shows_its_time(loop: asyncio.AbstractEventLoop) -> None:
    """Not a moment later: a clock that stands still would never get there."""

    async def three_turns() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    now = loop.time()
    loop.time = lambda: now  # type: ignore[method-assign]
    calls: list[str] = []
    loop.call_at(now, calls.append, "due")
    loop.run_until_complete(three_turns())
    assert calls == ["due"]


def test_a_subclass_may_bring_its_own_clock(loop: asyncio.AbstractEventLoop) -> None:
    class Hasty(type(loop)):  # type: ignore[misc]  # the class of the loop under test
        def time(self) -> float:
            return 1000 * float(super().time())

    hasty = Hasty()
    try:
        begin = hasty.time()
        hasty.run_until_complete(asyncio.sleep(0.05))
        assert hasty.time() - begin >= 0.05
    finally:
        hasty.close()
