"""What a signal handler schedules while the scheduler takes its lists: CPython runs handlers after a call, as here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from recording import turn

import edgeloop

pytestmark = [
    pytest.mark.edgeloop_only,  # named after its functions
    pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="there, no Python runs after such a call"),
]


def after_len_in(function: str, then: Callable[[], object]) -> Callable[[FrameType, str, Any], None]:
    """Return what ``sys.setprofile`` takes to call ``then`` once, after the first ``len()`` in that function."""

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_return" and argument is len and frame.f_code.co_name == function:
            sys.setprofile(None)
            then()

    return profile


def test_a_callback_that_is_scheduled_as_the_batch_is_taken_is_called(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    for number in (1, 2):
        loop.call_soon(called.append, number)
    sys.setprofile(after_len_in("_run_batch", lambda: loop.call_soon(called.append, 3)))
    try:
        turn(loop, 3)
    finally:
        sys.setprofile(None)
    assert called == [1, 2, 3]


def test_a_timer_that_is_set_as_the_new_ones_are_sorted_in_is_called(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    loop.call_later(0, called.append, 1)
    sys.setprofile(after_len_in("_sort_new_timers", lambda: loop.call_later(0, called.append, 2)))
    try:
        turn(loop, 5)
    finally:
        sys.setprofile(None)
    assert called == [1, 2]
