"""Executors: functions that run in other threads. asyncio doc: Executing code in thread or process pools."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

from .. import stdlib
from .tasks import Tasks

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Executors(Tasks):
    """Executors, as a mixin of EventLoop. Owns the default executor: ``close`` shuts it down."""

    def __init__(self) -> None:
        super().__init__()
        self._default_executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._executor_shut_down = False

    def set_default_executor(self, executor: concurrent.futures.ThreadPoolExecutor) -> None:
        """Set the executor of ``run_in_executor(None, ...)``. Raise TypeError if it is no ThreadPoolExecutor."""
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run ``func(*args)`` in a thread or process of the executor; return a future of its result.

        RuntimeError for the default executor (None) once it is shut down.
        """
        self._check_closed()
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None:
            if self._executor_shut_down:
                raise RuntimeError("Executor shutdown has been called")
            if self._default_executor is None:
                self._default_executor = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")
            executor = self._default_executor
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)  # type: ignore[arg-type]

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait until the default executor's threads have ended, at most ``timeout`` seconds (Python 3.12+).

        Warns (RuntimeWarning) when the time is over; the executor is shut down without waiting then.
        """
        stdlib.since((3, 12), "shutdown_default_executor", "timeout", timeout is not None)
        self._executor_shut_down = True
        executor = self._default_executor
        if executor is None:
            return
        done = self.create_future()
        thread = threading.Thread(target=self._shut_executor_down, args=(executor, done))
        thread.start()
        try:
            async with asyncio.timeout(timeout):
                await done
        except TimeoutError:
            warnings.warn(
                f"The executor did not finishing joining its threads within {timeout} seconds.",
                RuntimeWarning,
                stacklevel=2,
            )
            executor.shutdown(wait=False)
        else:
            thread.join()

    def _shut_executor_down(self, executor: concurrent.futures.Executor, done: asyncio.Future[None]) -> None:
        def finish(setter: Callable[..., None], *args: Any) -> None:
            if not done.done():
                setter(*args)

        try:
            executor.shutdown(wait=True)
            if not self._closed:
                self.call_soon_threadsafe(finish, done.set_result, None)
        except Exception as exc:
            if not self._closed and not done.cancelled():
                self.call_soon_threadsafe(finish, done.set_exception, exc)
