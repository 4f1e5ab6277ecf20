"""KeyboardInterrupt, or no memory, between two steps of the scheduler's: nothing is lost, and nothing runs twice.

CPython runs signal handlers after a call of C and at the beginning of a function, so those of SIGINT may raise there.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from children import forked
from descriptors import open_descriptors
from full_list import Full
from recording import turn
from sockets import Pair

import edgeloop

pytestmark = [
    pytest.mark.edgeloop_only,  # named after its functions
    pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="there, no Python runs between these steps"),
]

Loop = asyncio.AbstractEventLoop
KEPT: list[object] = []  # the last exception, and with it the frames that it went through


@contextmanager
def interrupted(where: Callable[[FrameType, str, Any], bool]) -> Iterator[None]:
    """KeyboardInterrupt is raised, once, where that is true of a frame, an event of ``sys.setprofile`` and its argument."""

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if where(frame, event, argument):
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            yield
    finally:
        sys.setprofile(None)
        KEPT[:] = [caught]


@pytest.mark.parametrize("kind", ["soon", "timer"])
def test_a_batch_that_was_taken_and_not_begun_runs_later(loop: Loop, kind: str) -> None:
    called: list[int] = []
    for number in range(3):
        if kind == "soon":
            loop.call_soon(called.append, number)
        else:
            loop.call_at(loop.time() - 1, called.append, number)
    with interrupted(
        lambda frame, event, argument: event == "c_return" and argument is len and frame.f_code.co_name == "_run_batch"
    ):
        turn(loop, 2)
    turn(loop, 2)
    assert sorted(called) == [0, 1, 2]


@pytest.mark.parametrize("cancelled", [(), (0,), (1,), (0, 2)])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_new_timers_that_were_sorted_in_halfway_run_once(loop: Loop, number: int, cancelled: tuple[int, ...]) -> None:
    called: list[int] = []
    due = loop.time() - 1
    timers = [loop.call_at(due + place / 100, called.append, place) for place in range(6)]
    for place in cancelled:
        timers[place].cancel()
    pushes = 0

    def at_that_push(frame: FrameType, event: str, argument: Any) -> bool:
        nonlocal pushes
        pushes += event == "call" and frame.f_code.co_name == "push"
        return pushes == number

    with interrupted(at_that_push):
        turn(loop, 2)
    turn(loop, 3)
    assert called == [place for place in range(6) if place not in cancelled]


def test_what_found_no_memory_on_its_way_from_another_thread_comes_later_and_in_order(loop: Any) -> None:
    called: list[int] = []
    for number in range(3):
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.append, number))
        thread.start()
        thread.join()
    loop._ready = Full()
    with pytest.raises(MemoryError):
        turn(loop)
    turn(loop, 2)
    assert called == [0, 1, 2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that this process has threads
def test_a_child_that_is_interrupted_while_it_takes_over_keeps_no_set_but_its_parents(loop: Loop, pair: Pair) -> None:
    """The next attempt would take what is left for a channel. The exception's frames may keep it for long."""
    ours, theirs = pair
    came: list[bytes] = []

    def read() -> None:
        came.append(ours.recv(10))
        loop.stop()

    loop.add_reader(ours, read)

    def child() -> None:
        before = open_descriptors()
        with interrupted(lambda frame, event, argument: event == "call" and frame.f_code.co_name == "adopt"):
            loop.add_writer(theirs, int)
        assert open_descriptors() == before
        loop.remove_writer(theirs)
        theirs.send(b"x")
        loop.run_forever()
        assert came == [b"x"]

    forked(child)
    loop.remove_reader(ours)
