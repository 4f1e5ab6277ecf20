"""Tasks and executors: what asyncio's own classes ask of a loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar, TypeVarTuple

from . import stdlib
from .schedule import Scheduler

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# What create_task hands to a task factory changed in 3.13.3, was taken back in 3.13.4 and came again in 3.14: from then
# on the factory gets every keyword, the name too.
_FACTORY_GETS_NAME = sys.version_info >= (3, 14) or sys.version_info[:3] == (3, 13, 3)
_NONE_NAMES_A_TASK = (3, 13) <= sys.version_info < (3, 14)  # set_name(None) is called too


class Tasks(Scheduler):
    """Tasks and executors, as a theme of AbstractEventLoop."""

    def __init__(self) -> None:
        super().__init__()
        self._task_factory: Callable[..., asyncio.Future[Any]] | None = None
        self._default_executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._executor_shut_down = False

    def create_task(self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], **kwargs: Any) -> asyncio.Task[T]:
        """A stock asyncio.Task around the coroutine, or what the task factory makes of it.

        Takes ``name``, ``context`` and whatever else the running Python's Task takes (``eager_start`` from 3.12 on),
        and passes on just what it got.
        """
        self._check_closed()
        if self._task_factory is None:
            task: Any = stdlib.tasks.Task(coro, loop=self, **kwargs)  # type: ignore[arg-type]
            if getattr(task, "_source_traceback", None):
                del task._source_traceback[-1]  # this frame
        elif _FACTORY_GETS_NAME:
            task = self._task_factory(self, coro, **kwargs)
        else:
            name = kwargs.pop("name", None)
            if kwargs.get("context", True) is None:
                del kwargs["context"]
            task = self._task_factory(self, coro, **kwargs)
            if name is not None or _NONE_NAMES_A_TASK:
                task.set_name(name)
        try:
            return task  # type: ignore[no-any-return]
        finally:
            del task  # a task that failed at once refers to this frame through its traceback

    def set_task_factory(self, factory: Callable[..., asyncio.Future[Any]] | None) -> None:
        """Have ``factory(loop, coro, **kwargs)`` make the tasks; None for stock tasks. TypeError if not callable."""
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._task_factory = factory

    def get_task_factory(self) -> Callable[..., asyncio.Future[Any]] | None:
        """The task factory, None for stock tasks."""
        return self._task_factory

    # Executors

    def set_default_executor(self, executor: concurrent.futures.ThreadPoolExecutor) -> None:
        """Set the executor of ``run_in_executor(None, ...)``. TypeError if it is no ThreadPoolExecutor."""
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run ``func(*args)`` in a thread (or in what the executor has); the future gets its result."""
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
        """Wait until the default executor's threads are done, at most ``timeout`` seconds (Python 3.12+).

        A RuntimeWarning if that is not enough.
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
        def tell(setter: Callable[..., None], *args: Any) -> None:
            if not done.done():
                setter(*args)

        try:
            executor.shutdown(wait=True)
            if not self._closed:
                self.call_soon_threadsafe(tell, done.set_result, None)
        except Exception as exc:
            if not self._closed and not done.cancelled():
                self.call_soon_threadsafe(tell, done.set_exception, exc)
