"""Which loops run in this process: a warning where edgeloop was asked for and another loop runs.

A loop calls ``asyncio._set_running_loop`` when it begins to run; a function in its place sees that. A loop whose extension
module was imported before keeps the function it found, and is not seen.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
from collections.abc import Callable
from types import FrameType

from . import stdlib
from .loop.event_loop import EventLoop

Loop = asyncio.AbstractEventLoop

#: Servers that choose their loop themselves, and what makes them choose edgeloop. Their warning comes at once: they run for
#: long, and most end by a signal that they raise again, so that no exit handler runs.
SERVERS = {
    "gunicorn": "gunicorn --worker-class edgeloop.gunicorn.UvicornWorker (or AiohttpWorker, ASGIWorker)",
    "uvicorn": 'uvicorn --loop edgeloop:new_event_loop, in a program uvicorn.run(..., loop="edgeloop:new_event_loop")',
    "hypercorn": "edgeloop.run(hypercorn.asyncio.serve(app, config)), or edgeloop.install() in the application's module",
    "granian": 'granian.loops.register("auto")(edgeloop.new_event_loop) before Granian(...).serve()',
}
#: Others that take a loop from whoever calls them.
CALLERS = {
    "uvloop": "edgeloop.run(main()) instead of uvloop.run(main())",
    "aiohttp": "web.run_app(app, loop=edgeloop.new_event_loop())",
    "anyio": 'anyio.run(main, backend_options={"loop_factory": edgeloop.new_event_loop})',
    "twisted": "asyncioreactor.install(edgeloop.new_event_loop())",
}
#: The advice for anybody else who makes a loop.
ANYBODY = "loop_factory=edgeloop.new_event_loop, where the loop is made"


class Watch:
    """Calls ``started(loop)`` in the thread of each loop that begins to run, until ``stop``."""

    def __init__(self, started: Callable[[Loop], object]) -> None:
        before = stdlib.running_loop_setter()

        def set_running_loop(loop: Loop | None, /) -> None:
            if loop is not None:
                started(loop)
            before(loop)

        self._before = before
        self._ours = set_running_loop
        stdlib.replace_running_loop_setter(set_running_loop)

    def stop(self) -> None:
        """Put the former function back, unless somebody has replaced this one."""
        if stdlib.running_loop_setter() is self._ours:
            stdlib.replace_running_loop_setter(self._before)


class Expectation:
    """edgeloop was asked for in this process: calls ``say`` with one line, once, if another loop runs instead.

    For a server when its loop begins to run; for other programs at exit, and only if no loop of edgeloop has run, since
    they may run another one besides.
    """

    def __init__(self, say: Callable[[str], object], holds: Callable[[], bool] = lambda: True) -> None:
        self._say = say
        self._holds = holds
        self._process = os.getpid()
        self._was_met = False
        self._first = ""  # the line about the first loop that wasn't ours
        self._is_said = False
        self.watch = Watch(self._started)
        atexit.register(self._at_exit)

    def _started(self, loop: Loop) -> None:
        if isinstance(loop, EventLoop):
            self._was_met = True
        elif not self._is_said and self._holds():
            name, remedy = advice(sys._getframe())
            line = f"{of_what_class(loop)} runs here, and not edgeloop"
            line += f": {name} chooses its loop itself. Use {remedy}" if name else f". Use {remedy}"
            if name in SERVERS:
                self._is_said = True
                self._say(line)
            elif not self._first:
                self._first = line

    def _at_exit(self) -> None:
        if self._is_said or self._was_met or os.getpid() != self._process:
            return
        if self._first:
            self._say(self._first)
        elif (server := _server_with_children()) is not None:
            self._say(f"it doesn't reach the processes that {server} starts. For those use {SERVERS[server]}")


def of_what_class(loop: Loop) -> str:
    """Return the name of a loop's class, with its module."""
    kind = type(loop)
    return f"{kind.__module__}.{kind.__qualname__}"


def advice(frame: FrameType | None) -> tuple[str, str]:
    """Return the name of a caller of ``frame`` that chooses loops ("" if none is known), and the advice for it."""
    callers = set()
    while frame is not None:
        callers.add(frame.f_globals.get("__name__", "").partition(".")[0])
        frame = frame.f_back
    for known in (SERVERS, CALLERS):
        for name, remedy in known.items():
            if name in callers:
                return name, remedy
    return "", ANYBODY


def outside(frame: FrameType | None) -> int:
    """Return how many callers of ``frame``, itself included, belong to loops or to programs that run them."""
    depth = 0
    inside = {"edgeloop", "asyncio", *SERVERS, *CALLERS}
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        depth += 1
        frame = frame.f_back
    return depth


def _server_with_children() -> str | None:
    if any("edgeloop" in argument for argument in sys.argv[1:]):
        return None  # --loop edgeloop:new_event_loop
    # multiprocessing imports these when it starts a process.
    if not any(f"multiprocessing.popen_{way}" in sys.modules for way in ("spawn_posix", "forkserver", "fork")):
        return None
    for name, module in (("uvicorn", "uvicorn.supervisors"), ("hypercorn", "hypercorn.run"), ("granian", "granian")):
        if module in sys.modules:
            return name
    return None
