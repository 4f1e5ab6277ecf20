"""``_scheduled``, where tools find the timers that wait, at any moment."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from typing import Any

import pytest
from recording import turn


@pytest.mark.parametrize("turns", [0, 1], ids=["new", "sorted in"])
def test_each_timer_that_waits_is_there(loop: Any, turns: int) -> None:
    timers = [loop.call_later(1000 + number, int) for number in range(5)]
    turn(loop, turns)
    timers += [loop.call_later(100, int)]
    assert sorted(loop._scheduled) == sorted(timers)
    assert all(isinstance(timer, asyncio.TimerHandle) for timer in loop._scheduled)


@pytest.mark.edgeloop_only  # asyncio drops a cancelled timer when it is due
@pytest.mark.counts_references
def test_timers_alone_are_there_while_one_is_dropped(loop: Any) -> None:
    """The destructor of what it referred to looks."""
    seen: list[list[Any]] = []
    context = contextvars.copy_context()
    reference = weakref.ref(context, lambda _: seen.append(loop._scheduled))
    first = loop.call_later(1000, int)
    timer = loop.call_later(1000, int, context=context)
    second = loop.call_later(1000, int)
    timer.cancel()
    del timer, context
    turn(loop, 2)
    assert reference() is None
    ((*scheduled,),) = seen
    assert {first, second} >= {waiting for waiting in scheduled if not waiting.cancelled()} >= {second}


def test_a_turn_that_others_run_asks_the_clock_that_was_put_there(loop: Any) -> None:
    called: list[int] = []
    loop.call_at(loop.time() + 1000, called.append, 1)
    loop.call_soon(int)
    now = loop.time()
    loop.time = lambda: now + 2000
    loop._run_once()
    assert called == [1]
