"""The asynchronous generators that are open on a loop. asyncio doc: Event Loop, shutdown_asyncgens; PEP 525."""

from __future__ import annotations

import asyncio
import functools
import sys
import warnings
import weakref
from collections.abc import AsyncGenerator
from typing import Any

from .tasks import Tasks


class AsyncGenerators:
    """The generators that were begun while one loop ran and are not finished, and the hooks that report them.

    ``set_hooks`` and ``restore_hooks`` are for the thread that runs the loop, at the beginning and the end of each run.
    """

    def __init__(self) -> None:
        self._open: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._shut_down = False
        self._outer_hooks: tuple[Any, Any] | None = None  # of whoever runs the loop

    def set_hooks(self, loop: Tasks) -> None:
        """Have the interpreter report this thread's generators here."""
        if self._outer_hooks is None:  # else there was no memory to restore them after the last run
            self._outer_hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._on_begun, finalizer=functools.partial(self._on_dropped, loop))

    def restore_hooks(self) -> None:
        """Undo ``set_hooks``, if it was called."""
        if self._outer_hooks is not None:
            sys.set_asyncgen_hooks(*self._outer_hooks)
            self._outer_hooks = None

    def _on_begun(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._shut_down:
            warnings.warn(
                f"asynchronous generator {generator!r} was scheduled after loop.shutdown_asyncgens() call",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        self._open.add(generator)

    def _on_dropped(self, loop: Tasks, generator: AsyncGenerator[Any, Any]) -> None:
        # The garbage collector calls it, in whatever thread it runs.
        self._open.discard(generator)
        if not loop.is_closed():
            loop.call_soon_threadsafe(loop.create_task, generator.aclose())

    async def shut_down(self, loop: Tasks) -> None:
        """Close the open generators, and warn of those that begin later. What fails is reported to the loop."""
        self._shut_down = True
        generators = list(self._open)
        self._open.clear()
        results = await asyncio.gather(*(generator.aclose() for generator in generators), return_exceptions=True)
        for generator, result in zip(generators, results, strict=True):
            if isinstance(result, Exception):
                loop.call_exception_handler(
                    {
                        "message": f"an error occurred during closing of asynchronous generator {generator!r}",
                        "exception": result,
                        "asyncgen": generator,
                    }
                )
