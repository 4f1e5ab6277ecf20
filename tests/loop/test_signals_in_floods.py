"""Signals in floods, handlers that end otherwise than by remove_signal_handler, and what debug mode says of them."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from recording import Run, turn, until

MANY = 70_000  # more bytes than a pipe takes


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.edgeloop_only  # how many of a flood count is each loop's own matter
def test_a_flood_that_no_pipe_takes_is_outlasted(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    called: list[int] = []

    def flood() -> None:
        pid, number = os.getpid(), signal.SIGUSR1
        for _ in range(MANY):
            os.kill(pid, number)

    async def main() -> None:
        loop.add_signal_handler(signal.SIGUSR1, called.append, 1)
        loop.call_soon(flood)
        await until(lambda: bool(called))
        for _ in range(10):  # all that the pipe has taken
            before = len(called)
            await until(lambda: True)
            await asyncio.sleep(0.001)
            if len(called) == before:
                break
        assert len(called) <= MANY
        called.clear()
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: bool(called))
        assert called == [1]
        loop.remove_signal_handler(signal.SIGUSR1)

    run(main())


def test_a_signal_whose_handle_was_cancelled_calls_nothing_any_more(loop: Any) -> None:
    called: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, called.append, 1)
    loop.add_signal_handler(signal.SIGUSR2, loop.stop)
    loop._signal_handlers[signal.SIGUSR1].cancel()
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR2)
    loop.run_forever()
    assert called == []
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    loop.remove_signal_handler(signal.SIGUSR2)


def test_a_program_may_say_that_a_signal_has_come(loop: Any) -> None:
    called: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, called.append, 1)
    loop._handle_signal(signal.SIGUSR1)
    loop._handle_signal(signal.SIGUSR2)  # nobody's
    turn(loop, 2)
    assert called == [1]
    loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.edgeloop_only  # asyncio's leaves set_wakeup_fd with a closed descriptor
def test_a_loop_that_another_thread_closes_is_closed_though_its_signals_stay(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """The fixture that counts descriptors looks too."""
    loop = loop_factory()
    called: list[int] = []
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, called.append, number)
    raised: list[str] = []

    def close() -> None:
        try:
            loop.close()
        except ValueError as exc:
            raised.append(str(exc))

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert raised == ["signal only works in main thread of the main interpreter"]
    assert loop.is_closed()
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR2)
    assert called == []
    loop.remove_signal_handler(signal.SIGUSR2)


@pytest.mark.edgeloop_only  # asyncio's handle says it too, of frames of its own
def test_debug_mode_says_where_a_signal_handler_was_added(loop: asyncio.AbstractEventLoop) -> None:
    reports: list[dict[str, Any]] = []

    def keep(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        reports.append(context)
        loop.stop()

    loop.set_debug(True)
    loop.set_exception_handler(keep)
    loop.add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert any(frame.filename == __file__ for frame in reports[0]["source_traceback"])
    loop.remove_signal_handler(signal.SIGUSR1)
