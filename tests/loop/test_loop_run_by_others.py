"""Loops that others run: a thread, asyncio.Runner, asyncio.run; and that nothing is left of a closed one."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Callable

import pytest


def test_two_loops_in_two_threads(
    loop: asyncio.AbstractEventLoop, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def ping(other: asyncio.AbstractEventLoop, done: asyncio.Event) -> str:
        for _ in range(100):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), other))
        return "done"

    other = loop_factory()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    try:
        assert loop.run_until_complete(ping(other, asyncio.Event())) == "done"
    finally:
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()


def test_a_loop_runs_in_a_thread_without_signals(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    results: list[str] = []

    def main() -> None:
        loop = loop_factory()
        try:
            results.append(loop.run_until_complete(asyncio.sleep(0.001, "slept")))
        finally:
            loop.close()

    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    assert results == ["slept"]


def test_runner_with_the_factory(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> type:
        return type(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(main()) is type(runner.get_loop())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run takes loop_factory since Python 3.12")
def test_asyncio_run_with_the_factory(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> str:
        return await asyncio.sleep(0.001, "ran")

    if sys.version_info >= (3, 12):
        assert asyncio.run(main(), loop_factory=loop_factory) == "ran"


@pytest.mark.counts_references
@pytest.mark.edgeloop_only
def test_a_closed_loop_is_in_no_cycle(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        await asyncio.sleep(0.001)
        return weakref.ref(asyncio.get_running_loop())

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            closed = runner.run(main())
        del runner
        assert closed() is None
    finally:
        gc.enable()
