"""The undocumented names of the standard library that edgeloop uses, in one place.

Besides, it uses three attributes of asyncio's objects: a task's ``_log_destroy_pending`` (event_loop.py) and
``_source_traceback`` (tasks.py), and the policy's ``_loop_factory`` (policy.py). The classes of edgeloop.streams inherit from
asyncio's, and share with them the attributes that tests/package/test_stdlib.py lists.

tests/package/test_stdlib.py checks each against the running Python.
"""

from __future__ import annotations

import asyncio.base_events
import asyncio.coroutines
import asyncio.events
import asyncio.format_helpers
import asyncio.futures
import asyncio.staggered
import asyncio.tasks
import inspect
import logging
import sys
import traceback
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "LOG_THRESHOLD_FOR_CONNLOST_WRITES",
    "TAKES_ANY_PACKETS",
    "TransportSocket",
    "debug_by_default",
    "describe_callback",
    "extract_stack",
    "futures",
    "get_running_loop",
    "handle_class",
    "is_replaced_run",
    "logger",
    "module_runner",
    "replace_running_loop_setter",
    "run_handle",
    "running_loop_setter",
    "set_running_loop",
    "since",
    "staggered_race",
    "tasks",
    "threads_of",
]

RunningLoopSetter = Callable[[asyncio.AbstractEventLoop | None], None]

_format_callback_source: Callable[..., str] = asyncio.format_helpers._format_callback_source
_HIDES_ARGUMENTS = "debug" in inspect.signature(_format_callback_source).parameters

_constants_of_datagrams = asyncio.base_events.BaseEventLoop.create_datagram_endpoint.__code__.co_consts
TAKES_ANY_PACKETS = not any("A UDP Socket was expected" in part for part in map(str, _constants_of_datagrams))
"""``sock=`` is not limited to SOCK_DGRAM: from 3.13 on, and in releases of 3.11 and 3.12 since 2024, gh-114887."""

futures = asyncio.futures
"""The module in which asyncio's own loops look Future up at each call: programs replace the class there."""

tasks = asyncio.tasks
"""The same for Task; they don't look at asyncio.Task."""

LOG_THRESHOLD_FOR_CONNLOST_WRITES = 5
"""How many writes after the end of a connection are not logged; the number of asyncio.constants."""

handle_class = asyncio.events.Handle
"""The class whose ``_run`` tools put a function of their own around, to measure callbacks: aiodebug, logfire, livekit."""

_HANDLE_FILE: str | None = getattr(getattr(handle_class.__init__, "__code__", None), "co_filename", None)


def module_runner() -> Callable[[str, bool], object]:
    """Return what ``python -m`` calls to run a module as ``__main__``; the bool: does its file go into ``sys.argv[0]``?

    Its caller's frame is in the program's tracebacks, so it is not called here.
    """
    import runpy  # which few programs need

    return runpy._run_module_as_main  # type: ignore[attr-defined,no-any-return]


def is_replaced_run(function: object) -> bool:
    """Return True if this ``Handle._run`` is not asyncio's own; a program may have replaced it before it imported us."""
    return getattr(getattr(function, "__code__", None), "co_filename", None) != _HANDLE_FILE


def run_handle(handle: Any) -> None:
    """Run a callback by what ``asyncio.events.Handle._run`` is now. Its ``_callback``, ``_args``, ``_context``, ``_loop`` and
    ``_source_traceback`` are used."""
    handle_class._run(handle)


def get_running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, None if none does."""
    return asyncio.events._get_running_loop()


def set_running_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Set the loop that runs in this thread; None: none does."""
    asyncio.events._set_running_loop(loop)


def running_loop_setter() -> RunningLoopSetter:
    """Return the function that each loop calls when it begins to run and when it ends."""
    return asyncio.events._set_running_loop


def replace_running_loop_setter(function: RunningLoopSetter) -> None:
    """Replace that function, for the loops that look it up after this, as asyncio's do."""
    asyncio._set_running_loop = asyncio.events._set_running_loop = function


def staggered_race(attempts: Iterable[Callable[[], Any]], delay: float | None, loop: Any) -> Any:
    """Return an awaitable of (result of the first attempt that succeeds, ...); each begins ``delay`` seconds later."""
    return asyncio.staggered.staggered_race(attempts, delay, loop=loop)


def since(version: tuple[int, int], function: str, keyword: str, given: bool) -> None:
    """Raise TypeError for a keyword that the running Python's asyncio doesn't have yet, as a call of it would."""
    if given and sys.version_info < version:
        raise TypeError(f"{function}() got an unexpected keyword argument {keyword!r}")


def logger() -> logging.Logger:
    """Return the logger "asyncio" that ``asyncio.base_events`` has at this moment (tests replace it there)."""
    return asyncio.base_events.logger  # type: ignore[attr-defined, no-any-return]


def debug_by_default() -> bool:
    """Return True if a new loop starts in debug mode: PYTHONASYNCIODEBUG or -X dev."""
    return bool(asyncio.coroutines._is_debug_mode())  # type: ignore[attr-defined]


def threads_of(executor: Any) -> tuple[int, int]:
    """Return how many threads an executor has, and how many jobs wait for one: (0, 0) for None or one of another kind."""
    threads = getattr(executor, "_threads", None)
    waiting = getattr(executor, "_work_queue", None)
    if threads is None or waiting is None:
        return 0, 0
    return len(threads), waiting.qsize()


def describe_callback(callback: Any, args: tuple[Any, ...], debug: bool) -> str:
    """Return a callback and the place of its definition, as asyncio's own handles show it.

    The arguments are shown in debug mode; older Pythons show them always.
    """
    return (
        _format_callback_source(callback, args, debug=debug)
        if _HIDES_ARGUMENTS
        else _format_callback_source(callback, args)
    )


def extract_stack() -> traceback.StackSummary:
    """Return the caller's stack, without line lookups: debug mode stores it in ``_source_traceback``."""
    return asyncio.format_helpers.extract_stack()
