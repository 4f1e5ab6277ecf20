"""What somebody puts in place of the loop's own methods, in a subclass, on the class or on the loop, is used."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from recording import turn

Patch = Callable[[asyncio.AbstractEventLoop, str, Any], None]


@pytest.fixture(params=["class", "loop"])
def replace(request: pytest.FixtureRequest) -> Iterator[Patch]:
    """``replace(loop, name, function)`` on the loop's class, or on itself; undone at the end."""
    with pytest.MonkeyPatch.context() as patch:

        def put(loop: asyncio.AbstractEventLoop, name: str, function: Any) -> None:
            if request.param == "class":
                patch.setattr(type(loop), name, function)
            else:
                patch.setattr(loop, name, lambda *args, **kwargs: function(loop, *args, **kwargs))

        yield put


def test_a_clock_that_is_put_there_while_the_loop_runs_is_used_at_once(
    loop: asyncio.AbstractEventLoop, replace: Patch
) -> None:
    shift = [0.0]
    called: list[str] = []

    async def main() -> list[float]:
        replace(loop, "time", lambda self: time.monotonic() + shift[0])
        shift[0] = 1000.0
        whens = [loop.call_later(100, called.append, "a").when() - time.monotonic()]
        shift[0] = 2000.0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return whens

    (when,) = loop.run_until_complete(main())
    assert 1000 < when < 1101
    assert called == ["a"]


def test_a_clock_that_stands_still_stops_the_timers_and_nothing_else(
    loop: asyncio.AbstractEventLoop, replace: Patch
) -> None:
    base = loop.time()
    called: list[str] = []
    replace(loop, "time", lambda self: base)
    loop.call_later(1e-6, called.append, "timer")
    for _ in range(100):
        turn(loop)
    assert called == []


def test_a_clock_that_is_taken_away_again_is_not_used(loop: asyncio.AbstractEventLoop) -> None:
    for where in (type(loop), loop):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, "time", lambda *self: 5.0)
            assert loop.call_later(1, print).when() == 6.0
            assert loop.time() == 5.0
        before = loop.time()
        handle = loop.call_later(1, print)
        assert before + 1 <= handle.when() <= loop.time() + 1
        handle.cancel()


def test_call_later_goes_through_a_call_at_that_is_not_ours(loop: asyncio.AbstractEventLoop, replace: Patch) -> None:
    asked: list[tuple[float, Any]] = []
    original = type(loop).call_at

    def call_at(self: Any, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        asked.append((when, args))
        return original(self, when, callback, *args, context=context)

    async def main() -> None:
        replace(loop, "call_at", call_at)
        before = loop.time()
        handle = loop.call_later(0.001, print, "a", "b")
        ((when, args),) = asked
        assert handle.when() == when >= before + 0.001
        assert args == ("a", "b")
        handle.cancel()
        await asyncio.sleep(0.001)
        assert len(asked) == 2

    loop.run_until_complete(main())


def test_a_subclass_has_call_later_go_through_its_call_at(loop: asyncio.AbstractEventLoop) -> None:
    class Counting(type(loop)):  # type: ignore[misc]  # the class of the loop under test
        count = 0

        def call_at(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            self.count += 1
            return super().call_at(*args, **kwargs)  # type: ignore[no-any-return]

    counting = Counting()
    try:
        counting.run_until_complete(asyncio.sleep(0.001))
        assert counting.count == 1
    finally:
        counting.close()


def test_a_run_once_that_is_put_there_while_the_loop_runs_is_called(
    loop: asyncio.AbstractEventLoop, replace: Patch
) -> None:
    turns: list[int] = []
    original: Any = type(loop)._run_once  # type: ignore[attr-defined]

    def run_once(self: Any) -> None:
        turns.append(1)
        original(self)

    async def main() -> None:
        await asyncio.sleep(0)
        replace(loop, "_run_once", run_once)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert len(turns) >= 2


@pytest.mark.edgeloop_only  # what freezegun does with real_asyncio, which is made for asyncio's own loop
@pytest.mark.parametrize("known", [True, False], ids=["its own class", "another class"])
def test_time_can_be_frozen_for_all_but_the_loop(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """It puts a function that stands still in the place of each time.monotonic that a module has, and the real one on
    the class of the policy's loop, which need not be this loop's."""
    real = time.monotonic
    stopped = real()

    async def main() -> None:
        with monkeypatch.context() as patch:
            for module in list(sys.modules.values()):
                for name, value in list(getattr(module, "__dict__", {}).items()):
                    if value is real:
                        patch.setattr(module, name, lambda: stopped)
            if known:
                patch.setattr(type(loop), "time", lambda self: real())
            await asyncio.sleep(0.01)
            await asyncio.wait_for(asyncio.to_thread(int), 10)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    while True:
                        await asyncio.sleep(0)

    loop.run_until_complete(main())
