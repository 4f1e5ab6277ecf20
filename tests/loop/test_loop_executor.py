"""run_in_executor, the default executor, and the shutdown of executor and asynchronous generators."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from recording import Run, record_errors


async def test_run_in_the_default_executor(loop: asyncio.AbstractEventLoop) -> None:
    name, total = await loop.run_in_executor(None, lambda: (threading.current_thread().name, 1 + 2))
    assert name != threading.current_thread().name
    assert total == 3
    assert await loop.run_in_executor(None, max, 1, 5, 3) == 5


async def test_an_exception_in_the_executor_reaches_the_caller(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(None, divmod, 1, 0)


async def test_run_in_a_given_executor(loop: asyncio.AbstractEventLoop) -> None:
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="given") as executor:
        name = await loop.run_in_executor(executor, lambda: threading.current_thread().name)
        assert name.startswith("given")


def test_run_in_executor_returns_a_future_of_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    future = loop.run_in_executor(None, int)
    assert isinstance(future, asyncio.Future)
    assert future.get_loop() is loop
    assert loop.run_until_complete(future) == 0


def test_a_cancelled_job_that_has_not_started_never_runs(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    called: list[int] = []

    async def main() -> None:
        gate = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            first = loop.run_in_executor(executor, gate.wait)
            second = loop.run_in_executor(executor, called.append, 1)
            second.cancel()
            await asyncio.sleep(0)  # wrap_future cancels the job in a callback
            gate.set()
            assert await first is True

    run(main())
    assert called == []


def test_many_jobs(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(loop.run_in_executor(None, abs, -number) for number in range(500)))

    assert run(main()) == list(range(500))


def test_set_default_executor(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine"))

    async def main() -> str:
        return await loop.run_in_executor(None, lambda: threading.current_thread().name)

    assert run(main()).startswith("mine")


@pytest.mark.parametrize("wrong", [None, object(), "pool"])
def test_default_executor_must_be_a_thread_pool(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^executor must be ThreadPoolExecutor instance$"):
        loop.set_default_executor(wrong)


async def test_shutdown_default_executor_joins_the_threads(loop: asyncio.AbstractEventLoop) -> None:
    threads: list[threading.Thread] = []

    await loop.run_in_executor(None, lambda: threads.append(threading.current_thread()))
    await loop.shutdown_default_executor()
    assert not threads[0].is_alive()
    with pytest.raises(RuntimeError, match=r"^Executor shutdown has been called$"):
        await loop.run_in_executor(None, int)


async def test_shutdown_without_an_executor(loop: asyncio.AbstractEventLoop) -> None:
    await loop.shutdown_default_executor()
    with pytest.raises(RuntimeError, match=r"^Executor shutdown has been called$"):
        loop.run_in_executor(None, int)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:  # only the default one is refused
        assert await loop.run_in_executor(executor, int) == 0


def test_close_shuts_the_executor_down(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = loop_factory()
    executor = concurrent.futures.ThreadPoolExecutor(1)
    loop.set_default_executor(executor)
    loop.run_until_complete(loop.run_in_executor(None, int))
    loop.close()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(int)
    executor.shutdown()


if sys.version_info >= (3, 12):

    @pytest.mark.edgeloop_only
    def test_shutdown_timeout_warns_and_goes_on(loop: asyncio.AbstractEventLoop, run: Run) -> None:
        """The standard loop of 3.12.1 waits for the executor before it looks at its timeout."""
        gate = threading.Event()

        async def main() -> None:
            job = loop.run_in_executor(None, gate.wait)
            try:
                with pytest.warns(
                    RuntimeWarning, match=r"did not finish(ing)? joining its threads within 0\.02 seconds\."
                ):
                    await loop.shutdown_default_executor(0.02)
                assert not job.done()
            finally:
                gate.set()
            await job

        run(main())

    def test_shutdown_timeout_that_is_not_reached(
        loop: asyncio.AbstractEventLoop, run: Run, recwarn: pytest.WarningsRecorder
    ) -> None:
        async def main() -> None:
            await loop.run_in_executor(None, int)
            await loop.shutdown_default_executor(timeout=30)

        run(main())
        assert not [warning for warning in recwarn if warning.category is RuntimeWarning]

else:

    def test_shutdown_takes_no_timeout_before_3_12(loop: asyncio.AbstractEventLoop, run: Run) -> None:
        async def main() -> None:
            shutdown: Any = loop.shutdown_default_executor
            await shutdown(0.02)

        with pytest.raises(TypeError):
            run(main())


async def test_shutdown_asyncgens_closes_them(loop: asyncio.AbstractEventLoop) -> None:
    closed: list[str] = []

    async def generate(name: str) -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            closed.append(name)

    generators = [generate("first"), generate("second")]
    for generator in generators:
        assert await anext(generator) == 1
    await loop.shutdown_asyncgens()
    assert sorted(closed) == ["first", "second"]


async def test_an_asyncgen_that_fails_to_close_is_reported(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)

    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ValueError("while closing")

    generator = generate()
    await anext(generator)
    await loop.shutdown_asyncgens()
    (context,) = contexts
    assert context["message"].startswith("an error occurred during closing of asynchronous generator")
    assert context["asyncgen"] is generator
    assert isinstance(context["exception"], ValueError)


async def test_an_abandoned_asyncgen_is_closed_on_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    closed = loop.create_future()

    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            closed.set_result(asyncio.get_running_loop())

    generator = generate()
    await anext(generator)
    del generator
    gc.collect()
    assert await closed is loop


async def test_an_asyncgen_after_shutdown_warns(loop: asyncio.AbstractEventLoop) -> None:
    async def generate() -> AsyncGenerator[int, None]:
        yield 1

    await loop.shutdown_asyncgens()
    generator = generate()
    with pytest.warns(ResourceWarning, match=r"was scheduled after loop\.shutdown_asyncgens\(\) call"):
        await anext(generator)
    await generator.aclose()


def test_a_busy_loop_lets_threads_run(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """Between two turns, not only when the interpreter's switch interval has passed: that is set to an age here."""

    async def main() -> int:
        turns = 0
        for _ in range(3):
            job = loop.run_in_executor(None, max, 1, 2)
            while not job.done():
                await asyncio.sleep(0)
                turns += 1
        return turns

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        assert run(main()) > 0
    finally:
        sys.setswitchinterval(interval)
