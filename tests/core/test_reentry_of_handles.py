"""What a callback, its arguments or its context run when they end: it may schedule, cancel and let other threads run."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eager_collector import eager_collector
from recording import Run, record_errors, turn

pytestmark = pytest.mark.counts_references


class Last:
    """Calls back when it ends."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def __del__(self) -> None:
        self.call()

    def method(self, *args: object) -> None:
        pass


def ignore(*args: object) -> None:
    pass


@pytest.fixture
def restless() -> Iterator[None]:
    with eager_collector():
        yield


def resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def in_a_context(holds: object) -> contextvars.Context:
    context = contextvars.Context()
    context.run(contextvars.ContextVar[object]("held").set, holds)
    return context


HELD = ("argument", "callback", "context")


def scheduling(loop: asyncio.AbstractEventLoop, held: str, timer: bool) -> Callable[[Last], asyncio.Handle]:
    """A function that schedules something which holds a Last as its argument, its callback or in its context."""

    def schedule(last: Last) -> asyncio.Handle:
        callback: Callable[..., object] = last.method if held == "callback" else ignore
        args = (last,) if held == "argument" else ()
        context = in_a_context(last) if held == "context" else None
        if timer:
            return loop.call_later(0, callback, *args, context=context)
        return loop.call_soon(callback, *args, context=context)

    return schedule


@pytest.mark.parametrize("timer", [False, True])
@pytest.mark.parametrize("held", HELD)
def test_what_an_end_schedules_is_called_with_its_arguments(
    loop: asyncio.AbstractEventLoop, held: str, timer: bool
) -> None:
    schedule = scheduling(loop, held, timer)
    called: list[tuple[Any, ...]] = []

    def soon(number: int) -> None:
        loop.call_soon(lambda *args: called.append(args), "soon", number)
        loop.call_later(0, lambda *args: called.append(args), "later", number)

    errors = record_errors(loop)
    for number in range(30):
        schedule(Last(lambda number=number: soon(number)))  # type: ignore[misc]
        if number % 3 == 0:
            turn(loop, 3)
    time.sleep(0.001)
    turn(loop, 5)
    assert errors == []
    assert sorted(called) == sorted((kind, number) for kind in ("soon", "later") for number in range(30))


@pytest.mark.parametrize("timer", [False, True])
@pytest.mark.parametrize("held", HELD)
def test_an_end_after_cancel_finds_the_handle_cancelled(
    loop: asyncio.AbstractEventLoop, held: str, timer: bool
) -> None:
    schedule = scheduling(loop, held, timer)
    found: list[tuple[bool, bool]] = []
    handles: list[asyncio.Handle] = []

    def look() -> None:
        handle: Any = handles[-1]
        handle.cancel()
        found.append((handle.cancelled(), handle._callback is None))
        assert "cancelled" in repr(handle)

    for _ in range(20):
        handles.append(schedule(Last(look)))
        handles[-1].cancel()
        turn(loop)
    if held != "context":
        assert found == [(True, True)] * 20
    handles.pop()
    turn(loop, 2)


def test_an_end_that_schedules_for_ever_doesnt_keep_the_loop_from_its_timers(loop: asyncio.AbstractEventLoop) -> None:
    """A chain: each one's end schedules the next."""
    ended = 0

    def again() -> None:
        nonlocal ended
        ended += 1
        if not loop.is_closed():
            loop.call_soon(ignore, Last(again))

    again()
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert ended > 10


@pytest.mark.edgeloop_only  # asyncio keeps the last timer that it came upon in a variable while it sleeps
@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("distant", [False, True])
def test_an_end_of_a_cancelled_timer_is_not_slept_through(
    loop: asyncio.AbstractEventLoop, run: Run, held: str, distant: bool
) -> None:
    """It schedules while the loop works out how long it may sleep: for ever, or until a distant timer."""

    async def main() -> None:
        done = loop.create_future()
        keep = loop.call_later(3600, ignore) if distant else None

        def finish() -> None:
            loop.call_soon(resolve, done)

        # Dropped by cancel, or by the loop when it comes upon what is cancelled: a context is kept until then.
        timer = scheduling_later(held, finish)
        await asyncio.sleep(0)
        timer.cancel()
        del timer
        await done
        if keep is not None:
            keep.cancel()

    def scheduling_later(held: str, finish: Callable[[], None]) -> asyncio.Handle:
        last = Last(finish)
        if held == "context":
            return loop.call_later(0.01, ignore, context=in_a_context(last))
        return loop.call_later(0.01, last.method) if held == "callback" else loop.call_later(0.01, ignore, last)

    run(main(), 20)


@pytest.mark.edgeloop_only  # as above
def test_an_end_that_adds_a_timer_while_new_ones_are_sorted_is_not_slept_through(
    loop: asyncio.AbstractEventLoop, run: Run
) -> None:
    async def main() -> None:
        done = loop.create_future()
        held = in_a_context(Last(lambda: loop.call_later(0.001, resolve, done)))
        loop.call_later(5, ignore, context=held).cancel()
        del held
        await done

    run(main(), 20)


@pytest.mark.edgeloop_only  # as above
@pytest.mark.parametrize("count", [5, 400])
def test_ends_that_cancel_and_add_timers_while_the_heap_is_cleared(
    loop: asyncio.AbstractEventLoop, run: Run, count: int
) -> None:
    called: list[int] = []

    async def main() -> None:
        handles: list[asyncio.TimerHandle] = []
        others = [loop.call_later(3600, ignore) for _ in range(count)]

        def change(number: int) -> None:
            if loop.is_closed():
                return
            loop.call_later(0.001, called.append, number)
            if others:
                others.pop().cancel()

        for number in range(count):
            held = in_a_context(Last(lambda number=number: change(number)))  # type: ignore[misc]
            handles.append(loop.call_later(3600 + number, ignore, context=held))
        del held
        await asyncio.sleep(0)
        for handle in handles:
            handle.cancel()
        del handle
        handles.clear()
        for _ in range(3):
            for _ in range(count):
                loop.call_later(3600, ignore).cancel()
            await asyncio.sleep(0.002)
        for other in others:
            other.cancel()

    run(main())
    assert len(called) == len(set(called))


def test_ends_at_close_find_a_closed_loop(loop: asyncio.AbstractEventLoop) -> None:
    said: list[str] = []

    def schedule() -> None:
        for call in (lambda: loop.call_soon(ignore), lambda: loop.call_later(1, ignore), loop.close):
            try:
                call()
            except RuntimeError as exc:
                said.append(str(exc))

    for held in HELD:
        for timer in (False, True):
            for _ in range(70):
                scheduling(loop, held, timer)(Last(schedule))
    turn(loop)
    said.clear()
    for held in HELD:
        for timer in (False, True):
            for _ in range(70):
                scheduling(loop, held, timer)(Last(schedule))
    loop.close()
    gc.collect()
    assert said == ["Event loop is closed"] * 2 * len(HELD) * 2 * 70


def test_a_reader_whose_end_takes_the_reader_away(loop: asyncio.AbstractEventLoop) -> None:
    """The handle is cancelled while the registration is its only owner."""
    reading, writing = os.pipe()
    try:
        for change in (loop.remove_reader, lambda fd: loop.add_reader(fd, ignore)):
            for how in ("callback", "argument"):
                last = Last(lambda change=change: change(reading))  # type: ignore[misc]
                if how == "callback":
                    loop.add_reader(reading, last.method)
                else:
                    loop.add_reader(reading, ignore, last)
                del last
                loop.add_reader(reading, ignore, 1, 2, 3)
                turn(loop)
                loop.remove_reader(reading)
                assert not loop.remove_reader(reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_threads_get_their_results_while_arguments_end(
    loop: asyncio.AbstractEventLoop, run: Run, restless: None
) -> None:
    """The end of a file lets other threads run: what they schedule just then is not lost, nor another's."""

    async def main() -> list[int]:
        stop = False

        async def worker(number: int) -> int:
            for step in range(40):
                assert await asyncio.to_thread(lambda: (number, step)) == (number, step)  # noqa: B023
            return number

        async def close_files() -> None:
            while not stop:
                for _ in range(10):
                    loop.call_soon(ignore, open(os.devnull), os.fdopen(os.dup(1), "wb", 0))
                    loop.call_later(0, ignore, open(os.devnull))
                await asyncio.sleep(0)

        closing = asyncio.ensure_future(close_files())
        results = await asyncio.gather(*(worker(number) for number in range(4)))
        stop = True
        await closing
        await asyncio.sleep(0.001)
        return results

    errors = record_errors(loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert run(main()) == [0, 1, 2, 3]
    assert errors == []


def test_each_callback_of_a_thread_comes_once_and_whole(
    loop: asyncio.AbstractEventLoop, run: Run, restless: None
) -> None:
    called: list[tuple[int, int]] = []
    ours: list[int] = []

    def tell(number: int) -> None:
        for step in range(300):
            loop.call_soon_threadsafe(lambda *args: called.append(args), number, step)

    async def main() -> None:
        threads = [threading.Thread(target=tell, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        step = 0
        while any(thread.is_alive() for thread in threads):
            step += 1
            cycle: list[object] = [Last(lambda step=step: loop.call_soon(ours.append, step))]  # type: ignore[misc]
            cycle.append(cycle)
            loop.call_soon(ignore, cycle)
            del cycle
            await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sorted(ours) == list(range(1, step + 1))

    run(main())
    for number in range(3):
        assert [step for who, step in called if who == number] == list(range(300))


@pytest.mark.edgeloop_only
def test_a_loop_with_many_spare_handles_ends_on_a_small_stack() -> None:
    """The handles that are kept to be used again; threads may have little stack, and no loop need be closed before."""
    script = (
        "import edgeloop, gc, threading, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "def use(close):\n"
        "    loop = edgeloop.new_event_loop()\n"
        "    for _ in range(2000):\n"
        "        loop.call_soon(int); loop.call_later(0, int)\n"
        "    loop.call_later(0.01, loop.stop); loop.run_forever()\n"
        "    for _ in range(3000): loop.call_soon(int); loop.call_later(3600, int)\n"
        "    if close: loop.close()\n"
        "    del loop; gc.collect()\n"
        "threading.stack_size(131072)\n"
        "for close in (True, False):\n"
        "    thread = threading.Thread(target=use, args=(close,)); thread.start(); thread.join()\n"
        "print('ended')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "ended\n", done.stderr


@pytest.mark.edgeloop_only
def test_a_handle_that_waits_to_be_used_again_can_be_looked_at(loop: asyncio.AbstractEventLoop) -> None:
    """By tools that go through all objects."""
    for _ in range(1500):
        loop.call_soon(ignore)
        loop.call_later(0, ignore)
    time.sleep(0.001)
    turn(loop, 3)
    handles: list[Any] = [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Handle)]
    for handle in handles:
        assert "Handle" in repr(handle)
        handle.cancel()
    del handle, handles
    called: list[int] = []
    for number in range(1500):
        loop.call_soon(called.append, number)
    turn(loop)
    assert called == list(range(1500))


def test_a_callback_that_switches_debug_mode_on_and_off(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    loop.slow_callback_duration = 10.0
    for number in range(200):
        loop.call_soon(loop.set_debug, number % 3 == 0)
        handle = loop.call_soon(called.append, number)
        if number % 5 == 0:
            handle.cancel()
        turn(loop, number % 2)
    loop.set_debug(False)
    turn(loop, 2)
    assert called == [number for number in range(200) if number % 5]
