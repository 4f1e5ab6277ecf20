"""Tasks and futures: asyncio's own, made for this loop. asyncio doc: Creating futures and tasks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from .. import stdlib
from ..core.schedule import Scheduler
from ..kernel import interpreter

T = TypeVar("T")

# From 3.14 on, and in 3.13.3 alone before, create_task passes every keyword to the task factory, the name too.
_FACTORY_GETS_NAME = sys.version_info >= (3, 14) or sys.version_info[:3] == (3, 13, 3)
_NONE_NAMES_A_TASK = (3, 13) <= sys.version_info < (3, 14)  # set_name(None) is called too

# Where asyncio keeps its classes and where programs replace them. Looking up a module's attribute costs more.
_task_names: dict[str, Any] = vars(stdlib.tasks)
_future_names: dict[str, Any] = vars(stdlib.futures)


class Tasks(Scheduler):
    """Tasks and futures, as a mixin of EventLoop: the one that all others derive from."""

    def __init__(self) -> None:
        Scheduler.__init__(self)
        interpreter.attributes_on_demand(self)
        self._task_factory: Callable[..., asyncio.Future[Any]] | None = None
        # The keywords of a Task and a Future: a new dict for each call costs a tenth of what the call makes.
        self._keywords: dict[str, Any] | None = None

    def create_future(self) -> asyncio.Future[Any]:
        """Return a stock asyncio.Future of this loop."""
        return interpreter.construct(_future_names["Future"], (), self._of_this_loop())  # type: ignore[no-any-return]

    def create_task(self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], **kwargs: Any) -> asyncio.Task[T]:
        """Return a stock asyncio.Task that runs the coroutine, or what the task factory makes of it.

        Takes ``name``, ``context`` and whatever else the running Python's Task takes (``eager_start`` from 3.12 on) and
        passes on only what it got; ``name=None`` means no name.
        """
        if self._closed:
            self._check_closed()
        if self._task_factory is not None:
            return self._task_of_factory(coro, kwargs)  # type: ignore[no-any-return]
        if kwargs and (len(kwargs) > 1 or kwargs.get("name", self) is not None):
            task: Any = _task_names["Task"](coro, loop=self, **kwargs)
        else:  # or name=None, which asyncio.create_task passes on in Python 3.12 and 3.13
            task = interpreter.construct(_task_names["Task"], (coro,), self._of_this_loop())
        if self._debug:
            stack = getattr(task, "_source_traceback", None)
            if stack and stack[-1].filename == __file__:
                del stack[-1]  # this frame; the compiled edition has none
        try:
            return task  # type: ignore[no-any-return]
        finally:
            del task  # a task that failed at once refers to this frame through its traceback

    def _of_this_loop(self) -> dict[str, Any]:
        keywords = self._keywords
        if keywords is None:
            keywords = {"loop": self}
            if not self._closed:  # _discard has dropped it: a closed loop is in no cycle
                self._keywords = keywords
        return keywords

    def _task_of_factory(self, coro: Any, kwargs: dict[str, Any]) -> Any:
        factory: Any = self._task_factory
        if _FACTORY_GETS_NAME:
            return factory(self, coro, **kwargs)
        name = kwargs.pop("name", None)
        if kwargs.get("context", True) is None:
            del kwargs["context"]
        task = factory(self, coro, **kwargs)
        if name is not None or _NONE_NAMES_A_TASK:
            task.set_name(name)
        try:
            return task
        finally:
            del task

    def set_task_factory(self, factory: Callable[..., asyncio.Future[Any]] | None) -> None:
        """Make tasks by ``factory(loop, coro, **kwargs)``; None: stock tasks. Raise TypeError if it isn't callable."""
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._task_factory = factory

    def get_task_factory(self) -> Callable[..., asyncio.Future[Any]] | None:
        """Return the task factory; None means stock tasks."""
        return self._task_factory

    def _discard(self) -> None:
        Scheduler._discard(self)
        self._keywords = None
