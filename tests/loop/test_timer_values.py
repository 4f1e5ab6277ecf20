"""What call_later and call_at take for a time: as asyncio, but for NaN, which would stop every timer."""

from __future__ import annotations

import asyncio
import math
import operator
import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from recording import Run, turn

NAN = float("nan")


class Floating(float):
    pass


class Adding:
    """Something that a float can be added to, and that can't be one itself."""

    def __radd__(self, other: float) -> float:
        return other + 5.0


def later(loop: asyncio.AbstractEventLoop, value: Any) -> asyncio.TimerHandle:
    return loop.call_later(value, print)


def at(loop: asyncio.AbstractEventLoop, value: Any) -> asyncio.TimerHandle:
    return loop.call_at(value, print)


@pytest.mark.edgeloop_only  # asyncio takes them and runs no timer on time from then on
@pytest.mark.parametrize("value", [NAN, -NAN, Floating("nan"), math.inf - math.inf])
@pytest.mark.parametrize("schedule", [later, at])
def test_nan_is_refused_by_name(loop: asyncio.AbstractEventLoop, schedule: Any, value: float) -> None:
    before = loop._scheduled[:]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="nan"):
        schedule(loop, value)
    assert loop._scheduled == before  # type: ignore[attr-defined]


@pytest.mark.edgeloop_only
def test_nan_is_refused_through_timeout_wait_for_and_sleep(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def by_timeout() -> None:
        async with asyncio.timeout(NAN):
            pass

    async def by_timeout_at() -> None:
        async with asyncio.timeout_at(NAN):
            pass

    async def by_reschedule() -> None:
        async with asyncio.timeout(5) as limit:
            limit.reschedule(NAN)

    async def main() -> None:
        for fails in (by_timeout, by_timeout_at, by_reschedule):
            with pytest.raises(ValueError, match=r"(?i)nan"):
                await fails()
        future = loop.create_future()
        with pytest.raises(ValueError, match=r"(?i)nan"):
            await asyncio.wait_for(future, NAN)
        with pytest.raises(ValueError, match=r"(?i)nan"):
            await asyncio.sleep(NAN)
        await asyncio.sleep(0.001)  # timers run

    run(main(), 20)


@pytest.mark.parametrize("distant", [math.inf, 1e300, 1e15, 10**18, Fraction(10**15, 3)])
def test_a_distant_timer_keeps_no_other_from_running(loop: asyncio.AbstractEventLoop, run: Run, distant: float) -> None:
    async def main() -> None:
        handles = [loop.call_later(distant, print, "never"), loop.call_at(distant, print, "never")]
        await asyncio.sleep(0.001)
        assert handles[1].when() == float(distant)
        loop.call_soon_threadsafe(int)
        await asyncio.sleep(0)
        for handle in handles:
            handle.cancel()

    run(main(), 20)


def test_a_loop_whose_only_timer_is_infinitely_far_waits(loop: asyncio.AbstractEventLoop) -> None:
    handle = loop.call_later(math.inf, print)
    thread = threading.Timer(0.05, loop.call_soon_threadsafe, (loop.stop,))
    thread.start()
    loop.run_forever()
    thread.join()
    handle.cancel()


@pytest.mark.parametrize("value", [-math.inf, -1e300, -1, -0.0, 0, False, Fraction(-1, 3)])
def test_what_is_past_is_due_at_once(loop: asyncio.AbstractEventLoop, value: float) -> None:
    called: list[str] = []
    loop.call_later(value, called.append, "later")
    loop.call_at(value, called.append, "at")
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert sorted(called) == ["at", "later"]


@pytest.mark.parametrize("value", [5, True, Fraction(7, 2), Floating(2.5), Adding()])
def test_a_delay_is_whatever_can_be_added_to_the_clock(loop: asyncio.AbstractEventLoop, value: Any) -> None:
    loop.time = lambda: 100.0  # type: ignore[method-assign]
    handle = loop.call_later(value, print)
    assert handle.when() == 100.0 + value
    handle.cancel()


@pytest.mark.parametrize("value", ["1", b"1", [1], (), object(), Decimal(1), asyncio])
def test_a_delay_of_another_type_is_refused(loop: asyncio.AbstractEventLoop, value: Any) -> None:
    with pytest.raises(TypeError):
        loop.call_later(value, print)
    turn(loop)


@pytest.mark.edgeloop_only  # asyncio takes them, and its run fails
@pytest.mark.parametrize("value", ["1", b"1", [1], (), object(), Decimal(1), 1 + 0j, asyncio])
def test_a_time_of_another_type_is_refused(loop: asyncio.AbstractEventLoop, value: Any) -> None:
    with pytest.raises(TypeError):
        loop.call_at(value, print)
    turn(loop)


def test_a_delay_too_large_for_a_float_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(OverflowError):
        loop.call_later(10**400, print)
    turn(loop)


@pytest.mark.parametrize("start", [10, Fraction(21, 2), True, -1.0, -1, 0, -2])
def test_a_clock_may_give_any_number(loop: asyncio.AbstractEventLoop, start: Any) -> None:
    called: list[str] = []
    now = [start]
    loop.time = lambda: now[0]  # type: ignore[method-assign]
    loop.call_later(1, called.append, "one")
    loop.call_at(start, called.append, "now")
    turn(loop, 2)
    assert called == ["now"]
    now[0] = start + 1
    turn(loop, 2)
    assert called == ["now", "one"]


@pytest.mark.parametrize("clock", [NAN, math.inf])
def test_a_clock_that_says_nothing_useful_has_all_timers_run(loop: asyncio.AbstractEventLoop, clock: float) -> None:
    """As on asyncio; and the wait is for no time, not for one that epoll refuses."""
    called: list[str] = []
    loop.call_later(3600, called.append, "an hour")
    loop.time = lambda: clock  # type: ignore[method-assign]
    turn(loop, 2)
    assert called == ["an hour"]


def test_a_clock_that_fails_is_the_runs_exception(loop: asyncio.AbstractEventLoop) -> None:
    def broken() -> float:
        raise ZeroDivisionError

    handle = loop.call_later(3600, print)
    loop.time = broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        turn(loop)
    with pytest.raises(ZeroDivisionError):
        loop.call_later(1, print)
    del loop.time
    handle.cancel()
    turn(loop)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_a_timer_is_compared_with_timers_alone(loop: asyncio.AbstractEventLoop, compare: Any) -> None:
    timer = loop.call_later(1, int)
    with pytest.raises(TypeError):
        compare(timer, 1.0)
    with pytest.raises(TypeError):
        compare(1.0, timer)
    assert timer != 1.0
    timer.cancel()
