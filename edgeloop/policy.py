"""Switching edgeloop on: ``run``, ``new_event_loop``, ``install`` and, where Python still has them, the policy."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from . import running, stdlib
from ._edition import EDITION
from ._version import __version__
from .loop.event_loop import EventLoop

T = TypeVar("T")

WATCH_VARIABLE = "EDGELOOP_WATCH"
_threshold: float | None = None  # of watch_all
_expectation: running.Expectation | None = None


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new EventLoop: a ``loop_factory`` for asyncio.Runner, asyncio.run (3.12+), uvicorn and others.

    Whoever makes it closes it. With ``EDGELOOP_WATCH=0.1`` (seconds) in the environment it is watched: edgeloop.watch. Raises
    ValueError if that says no number above 0, OSError if no descriptors are left.
    """
    threshold = _watch_threshold()
    stdlib.logger().debug("Using edgeloop %s, %s edition", __version__, EDITION)
    loop = EventLoop()
    if threshold is not None:
        from .watching.watchdog import watch_by_default  # few programs use it

        watch_by_default(loop, threshold)
    return loop


def parse_threshold(text: str, name: str) -> float:
    """Return the seconds that ``text`` says. Raise ValueError, which names ``name``."""
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    if not 0 < threshold < math.inf:
        raise ValueError(f"{name}={text!r}: a number of seconds above 0 is needed")
    return threshold


def watch_all(threshold: float) -> None:
    """Watch each loop that ``new_event_loop`` makes from now on: edgeloop.watch."""
    global _threshold
    _threshold = threshold


def _watch_threshold() -> float | None:
    if _threshold is not None:
        return _threshold
    text = os.environ.get(WATCH_VARIABLE, "").strip()
    return parse_threshold(text, f"{WATCH_VARIABLE} in the environment") if text else None


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run the coroutine ``main`` on a new loop, clean up and return its result, as asyncio.run. asyncio doc: Runners.

    ``debug`` switches debug mode on or off; with None the environment and Python's options decide. What is left of tasks is
    cancelled, asynchronous generators and the default executor are shut down. Raises what the coroutine raises;
    RuntimeError if a loop runs in this thread, ValueError or TypeError (by the version of Python) for what is no coroutine.
    """
    if stdlib.get_running_loop() is not None:
        raise RuntimeError("edgeloop.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


@functools.cache
def policy_class() -> type[Any]:
    """Return the event loop policy class. AttributeError on a Python without policies (3.16)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        base = getattr(asyncio, "DefaultEventLoopPolicy", None)
    if base is None:
        raise AttributeError(
            f"Python {sys.version_info[0]}.{sys.version_info[1]} has no event loop policies: "
            "use edgeloop.run or loop_factory=edgeloop.new_event_loop"
        )

    class EventLoopPolicy(base):  # type: ignore[misc, valid-type]
        """asyncio's policy with edgeloop's loop."""

        _loop_factory = staticmethod(new_event_loop)

        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            return new_event_loop()

    EventLoopPolicy.__module__ = "edgeloop"
    EventLoopPolicy.__qualname__ = "EventLoopPolicy"
    return EventLoopPolicy


def install() -> None:
    """Make edgeloop the default of asyncio.run, asyncio.Runner and asyncio.new_event_loop in this process.

    A RuntimeWarning comes if another loop runs all the same: servers such as uvicorn choose theirs themselves. May be called
    again. Loops that exist already stay what they are. It sets an event loop policy where Python has them.
    """
    make_default()
    expect(_warn, is_default)


def make_default() -> None:
    """Do what ``install`` does, without the warning."""
    try:
        policy = policy_class()
    except AttributeError:  # a Python without policies
        asyncio.new_event_loop = asyncio.events.new_event_loop = new_event_loop
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(policy())


def is_default() -> bool:
    """Return True if asyncio.new_event_loop makes a loop of edgeloop."""
    try:
        policy = policy_class()
    except AttributeError:
        return asyncio.new_event_loop is new_event_loop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return isinstance(asyncio.get_event_loop_policy(), policy)


def expect(say: Callable[[str], object], holds: Callable[[], bool]) -> None:
    """Call ``say`` if another loop runs in this process. Only the first call counts."""
    global _expectation
    if _expectation is None:
        _expectation = running.Expectation(say, holds)


def _warn(line: str) -> None:
    try:
        level = 1 + running.outside(sys._getframe())
        warnings.warn(f"edgeloop.install() was called: {line}", RuntimeWarning, stacklevel=level)
    except RuntimeWarning as warning:  # the program turned warnings into errors; a loop that begins to run raises none
        print(f"RuntimeWarning: {warning}", file=sys.stderr)
