"""call_soon_threadsafe and run_coroutine_threadsafe: order, wake-ups, and threads that race with the loop's end."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import threading
import types
from collections.abc import Callable

import pytest
from recording import Run, turn


def test_threadsafe_wakes_a_sleeping_loop(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """Nothing else is due: without the wake-up the loop would sleep on."""

    async def main() -> list[int]:
        order: list[int] = []
        for number in range(50):
            woken = loop.create_future()

            def call(number: int = number, woken: asyncio.Future[None] = woken) -> None:
                order.append(number)
                woken.set_result(None)

            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(call,))
            thread.start()
            await woken
            thread.join()
        return order

    assert run(main()) == list(range(50))


def test_threadsafe_keeps_each_threads_order_and_loses_nothing(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    threads, each = 8, 2000
    order: list[tuple[int, int]] = []
    done = threading.Barrier(threads)

    def schedule(thread: int) -> None:
        done.wait()
        for number in range(each):
            loop.call_soon_threadsafe(order.append, (thread, number))

    async def main() -> None:
        workers = [threading.Thread(target=schedule, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        while len(order) < threads * each:
            await asyncio.sleep(0.001)
        for worker in workers:
            worker.join()

    run(main())
    for thread in range(threads):
        assert [number for owner, number in order if owner == thread] == list(range(each))


async def test_what_another_thread_has_scheduled_runs_before_what_is_scheduled_then(
    loop: asyncio.AbstractEventLoop,
) -> None:
    order: list[str] = []
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(order.append, "other thread"))
    thread.start()
    thread.join()
    loop.call_soon_threadsafe(order.append, "this thread")
    loop.call_soon(order.append, "call_soon")
    await asyncio.sleep(0)
    assert order == ["other thread", "this thread", "call_soon"]


def test_threadsafe_between_two_runs(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.append, 1))
    thread.start()
    thread.join()
    assert called == []
    turn(loop)
    assert called == [1]


def test_threadsafe_handle_can_be_cancelled(loop: asyncio.AbstractEventLoop) -> None:
    called: list[int] = []
    handle = loop.call_soon_threadsafe(called.append, 1)
    assert isinstance(handle, asyncio.Handle)
    handle.cancel()
    turn(loop)
    turn(loop)
    assert called == []


def test_threadsafe_races_with_close(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A thread that schedules while the loop closes gets through or gets RuntimeError; nothing else."""
    errors: list[BaseException] = []
    for _ in range(20):
        loop = loop_factory()
        started = threading.Event()

        def schedule(loop: asyncio.AbstractEventLoop = loop, started: threading.Event = started) -> None:
            try:
                while True:
                    loop.call_soon_threadsafe(int)
                    started.set()
            except BaseException as exc:
                errors.append(exc)

        thread = threading.Thread(target=schedule)
        thread.start()
        started.wait()
        loop.close()
        thread.join()
    assert [str(error) for error in errors] == ["Event loop is closed"] * 20


def test_threadsafe_comes_to_wake_a_loop_that_is_closed(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Between a thread's putting the callback there and its wake-up the loop can have run it, and be closed.

    Where the two are Python code, the thread is stopped between them; compiled they are one step.
    """
    loop = loop_factory()
    called: list[int] = []
    errors: list[BaseException] = []
    stopped, go_on = threading.Event(), threading.Event()

    def stop_at_the_wake_up(frame: types.FrameType, event: str, arg: object) -> None:
        if frame.f_code.co_name in ("wake", "_write_to_self"):
            stopped.set()
            go_on.wait()

    def schedule() -> None:
        sys.settrace(stop_at_the_wake_up)
        try:
            loop.call_soon_threadsafe(called.append, 1)
        except BaseException as exc:
            errors.append(exc)
        finally:
            sys.settrace(None)
            stopped.set()

    thread = threading.Thread(target=schedule)
    thread.start()
    stopped.wait()
    turn(loop)
    turn(loop)
    loop.close()
    strangers = [socket.socketpair() for _ in range(8)]  # they get the numbers that the loop had
    go_on.set()
    thread.join()
    try:
        assert called == [1]
        assert errors == []
        for stranger in itertools.chain.from_iterable(strangers):
            with pytest.raises(BlockingIOError):
                stranger.recv(8, socket.MSG_DONTWAIT)
    finally:
        for stranger in itertools.chain.from_iterable(strangers):
            stranger.close()


def test_threadsafe_is_still_writing_when_the_loop_is_closed(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A thread that lets the interpreter go for its write(2) finds the loop closed, or its number another file's.

    The loop runs all the time, so that it takes the callback up before it is woken, ends and is closed.
    """
    errors: list[BaseException] = []

    def schedule(loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(loop.stop)
        except BaseException as exc:
            errors.append(exc)

    def again(loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon(again, loop)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            loop = loop_factory()
            again(loop)
            thread = threading.Thread(target=schedule, args=(loop,))
            thread.start()
            loop.run_forever()
            loop.close()
            here, there = socket.socketpair()  # they get the numbers that the loop had
            thread.join()
            with here, there:
                for stranger in (here, there):
                    with pytest.raises(BlockingIOError):
                        stranger.recv(8, socket.MSG_DONTWAIT)
    finally:
        sys.setswitchinterval(interval)
    assert errors == []


def test_run_coroutine_threadsafe(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    def ask() -> int:
        return asyncio.run_coroutine_threadsafe(double(21), loop).result()

    async def main() -> int:
        return await loop.run_in_executor(None, ask)

    assert run(main()) == 42
