"""Signals: add_signal_handler and its checks, real signals at every moment."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from recording import Run


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A signal handler left behind would show up in some other test."""
    watched = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in watched}
    yield
    wakeup = signal.set_wakeup_fd(-1)
    after = {number: signal.getsignal(number) for number in watched}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert wakeup == -1
    assert after == before


def test_a_signal_calls_its_handler(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[tuple[Any, ...]] = []

    def caught(*args: Any) -> None:
        seen.append(args)
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, caught, 1, "two")
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert seen == [(1, "two")]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True


def test_a_signal_wakes_a_sleeping_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    asleep = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    asleep.start()
    loop.run_forever()
    asleep.join()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_removal_return_values(loop: asyncio.AbstractEventLoop) -> None:
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    loop.add_signal_handler(signal.SIGUSR1, print)
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_removal_restores_the_default(loop: asyncio.AbstractEventLoop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGINT, print)
    assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_close_removes_the_handlers(loop: asyncio.AbstractEventLoop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGUSR2, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


def test_adding_again_replaces(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    def handle(word: str) -> None:
        seen.append(word)
        loop.call_later(0.01, loop.stop)

    loop.add_signal_handler(signal.SIGUSR1, handle, "old")
    loop.add_signal_handler(signal.SIGUSR1, handle, "new")
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert seen == ["new"]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True


def test_two_signals(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, first)
    loop.add_signal_handler(signal.SIGUSR2, seen.append, "second")
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR2)
    loop.call_later(0.02, os.kill, os.getpid(), signal.SIGUSR1)
    limit = loop.call_later(30, loop.stop)
    loop.run_forever()
    limit.cancel()
    assert seen == ["second", "first"]
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_signal_handler(signal.SIGUSR2)


def test_a_signal_between_two_runs_is_kept(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[int] = []

    def caught() -> None:
        seen.append(1)
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, caught)
    loop.stop()
    loop.run_forever()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert seen == []
    loop.run_forever()
    assert seen == [1]
    loop.remove_signal_handler(signal.SIGUSR1)


def test_a_signal_before_the_first_run_is_kept(loop: asyncio.AbstractEventLoop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_a_python_handler_of_the_users_own_runs_too(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
        loop.call_later(0.05, loop.stop)
        loop.run_forever()
        assert seen == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_python_handler_put_over_the_loops_does_not_silence_it(loop: asyncio.AbstractEventLoop) -> None:
    """As uvicorn does for as long as it serves, whatever the program around it has asked the loop for."""
    seen: list[str] = []

    def called() -> None:
        seen.append("loop")
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, called)
    ours = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append("over it"))
    limit = loop.call_later(30, loop.stop)
    loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert sorted(seen) == ["loop", "over it"]

    signal.signal(signal.SIGUSR1, ours)
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert sorted(seen) == ["loop", "loop", "over it"]
    limit.cancel()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_a_signal_counts_once_when_handlers_change_in_the_same_turn(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "loop")

    def ours_then_another() -> None:
        signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append("over it"))
        # One timer from the other, so that a machine held up doesn't put two of them into one turn.
        loop.call_later(0.04, another_then_ours)

    def another_then_ours() -> None:
        signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, ours)
        loop.call_later(0.04, once_more)

    def once_more() -> None:
        signal.raise_signal(signal.SIGUSR1)
        loop.call_later(0.04, loop.stop)

    ours = signal.getsignal(signal.SIGUSR1)
    loop.call_later(0.01, ours_then_another)
    loop.run_forever()
    assert seen == ["loop", "over it", "loop", "loop"]
    loop.remove_signal_handler(signal.SIGUSR1)


def test_a_python_handler_runs_while_the_loop_sleeps(loop: asyncio.AbstractEventLoop) -> None:
    """signal.signal without add_signal_handler: the handler must not wait until something else wakes the loop."""
    before = signal.signal(signal.SIGALRM, lambda number, frame: loop.call_soon_threadsafe(loop.stop))
    keep = loop.call_later(50, print)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        loop.run_forever()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        keep.cancel()


def test_an_exception_from_a_python_handler_leaves_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt("from the signal handler")

    called: list[int] = []
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt, match="from the signal handler"):
            loop.call_soon(
                signal.setitimer, signal.ITIMER_REAL, 0.02
            )  # by the loop: before it runs, it would end pytest
            loop.run_forever()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not loop.is_running()
    loop.call_soon(called.append, 1)
    loop.stop()
    loop.run_forever()
    assert called == [1]


def test_a_storm_of_signals_while_many_callbacks_run(loop: asyncio.AbstractEventLoop) -> None:
    """Neither a callback nor the last signal may be lost, whatever system call a signal interrupts."""
    caught: list[int] = []
    order: list[int] = []
    total = 20_000

    def step(number: int) -> None:
        order.append(number)
        if number + 1 == total:
            signal.setitimer(signal.ITIMER_REAL, 0)
            loop.call_later(0.01, loop.stop)
        elif number % 100 == 0:
            loop.call_later(0, step, number + 1)
        else:
            loop.call_soon(step, number + 1)

    loop.add_signal_handler(signal.SIGALRM, caught.append, 1)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        loop.call_soon(step, 0)
        loop.run_forever()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        loop.remove_signal_handler(signal.SIGALRM)
    assert order == list(range(total))
    assert caught


def test_sleeping_through_a_storm_of_signals(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    caught: list[int] = []

    async def main() -> None:
        before = loop.time()
        await asyncio.sleep(0.1)
        assert loop.time() - before >= 0.1

    loop.add_signal_handler(signal.SIGALRM, caught.append, 1)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        run(main())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        loop.remove_signal_handler(signal.SIGALRM)
    assert caught


def test_the_handlers_exception_is_reported(loop: asyncio.AbstractEventLoop) -> None:
    contexts: list[dict[str, Any]] = []

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        contexts.append(context)
        loop.stop()

    loop.set_exception_handler(report)
    loop.add_signal_handler(signal.SIGUSR1, divmod, 1, 0)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)
    loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.parametrize("wrong", ["SIGINT", None, 1.5], ids=repr)
def test_the_signal_must_be_an_integer(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"^sig must be an int, not {wrong!r}$"):
        loop.add_signal_handler(wrong, print)
    with pytest.raises(TypeError, match=f"^sig must be an int, not {wrong!r}$"):
        loop.remove_signal_handler(wrong)


@pytest.mark.parametrize("number", [-1, 0, 65, 10_000])
def test_the_signal_must_exist(loop: asyncio.AbstractEventLoop, number: int) -> None:
    with pytest.raises(ValueError, match=f"^invalid signal number {number}$"):
        loop.add_signal_handler(number, print)
    with pytest.raises(ValueError, match=f"^invalid signal number {number}$"):
        loop.remove_signal_handler(number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_signal_must_be_catchable(loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
    with pytest.raises(RuntimeError, match=f"^sig {int(number)} cannot be caught$"):
        loop.add_signal_handler(int(number), print)
    assert loop.remove_signal_handler(number) is False


def test_coroutines_are_refused(loop: asyncio.AbstractEventLoop) -> None:
    async def function() -> None:
        pass

    coroutine = function()
    add: Any = loop.add_signal_handler
    for wrong in (function, coroutine):
        with pytest.raises(TypeError, match=r"^coroutines cannot be used with add_signal_handler\(\)$"):
            add(signal.SIGUSR1, wrong)
    coroutine.close()


def test_only_in_the_main_thread(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    results: list[str] = []

    def main() -> None:
        loop = loop_factory()
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except RuntimeError as exc:
            results.append(str(exc))
        finally:
            loop.close()

    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    assert results == ["set_wakeup_fd only works in main thread of the main interpreter"]


def test_sigchld_stays_the_users_own(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, frame: seen.append(number))
    try:
        with subprocess.Popen([sys.executable, "-S", "-c", ""]) as child:
            loop.call_later(0.02, loop.stop)
            loop.run_forever()
            assert child.wait() == 0
        assert signal.getsignal(signal.SIGCHLD) is not before
        assert seen
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_signal_calls_its_handler_as_often_as_it_came(loop: asyncio.AbstractEventLoop) -> None:
    """Also when the interpreter calls the Python handler once for all. The kernel queues real-time signals, signal(7)."""
    seen: list[str] = []
    number = signal.SIGRTMIN + 1

    def send() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        for _ in range(5):
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})

    def caught() -> None:
        seen.append("signal")
        if len(seen) % 5 == 0:
            loop.call_soon(loop.call_soon, loop.stop)

    loop.add_signal_handler(number, caught)
    try:
        for expected in (5, 10):
            limit = loop.call_later(5, loop.stop)
            loop.call_soon(send)
            loop.run_forever()
            limit.cancel()
            assert len(seen) == expected
    finally:
        loop.remove_signal_handler(number)


@pytest.mark.edgeloop_only
def test_a_wake_up_byte_that_comes_late_delivers_nothing_again(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """A signal taken by another thread: the Python handler may run before the byte is written, and other bytes come first."""
    called: list[str] = []

    async def main() -> None:
        for _ in range(2):
            late = signal.set_wakeup_fd(-1)
            os.kill(os.getpid(), signal.SIGUSR1)  # its handler runs here, and it has written nothing
            signal.set_wakeup_fd(late, warn_on_full_buffer=False)
            os.kill(os.getpid(), signal.SIGUSR2)
            await asyncio.sleep(0.01)
            os.write(late, bytes([signal.SIGUSR1]))
            await asyncio.sleep(0.01)

    for name in ("SIGUSR1", "SIGUSR2"):
        loop.add_signal_handler(getattr(signal, name), called.append, name)
    try:
        run(main())
    finally:
        for name in ("SIGUSR1", "SIGUSR2"):
            loop.remove_signal_handler(getattr(signal, name))
    assert called == ["SIGUSR1", "SIGUSR2"] * 2
