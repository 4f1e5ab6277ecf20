"""Runs the scenarios of mischief.py under conditions in which everything happens at the worst moment.

``python reentry.py [--loop asyncio] [--seed S] [--runs N] [--limit SECONDS] SCENARIO``: each run in a forked process, the
collector called at each allocation, threads switched as often as can be. One line of JSON for each run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import reentry_connections
import reentry_scenarios
import reentry_values
from campaign import forked, loop_maker
from mischief import Mischief, TrapError
from scenarios_of_streams import contexts

SCENARIOS: dict[str, Callable[[Mischief], Awaitable[None]]] = {
    scenario.__name__: scenario
    for module in (reentry_scenarios, reentry_connections, reentry_values)
    for scenario in module.SCENARIOS
}


def where(exc: BaseException) -> str:
    """The last frames that an exception has passed, the innermost first: it may never come again."""
    frames = traceback.extract_tb(exc.__traceback__, -6)
    return " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))


def perform(name: str, seed: int, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> dict[str, Any]:
    """One run, in this process; what is wrong with it."""
    loop = new_loop()
    mischief = Mischief(seed, loop)

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exception = context.get("exception")
        if not isinstance(exception, (TrapError, OSError)):
            mischief.say(f"reported: {context.get('message')} {type(exception).__name__}: {exception}")

    def unraisable(what: Any) -> None:
        mischief.say(f"unraisable: {type(what.exc_value).__name__}: {what.exc_value} in {what.object!r}")

    sys.unraisablehook = unraisable
    loop.set_exception_handler(report)
    gc.set_threshold(1)
    sys.setswitchinterval(1e-6)
    played: asyncio.Future[None] = asyncio.ensure_future(SCENARIOS[name](mischief), loop=loop)
    try:
        loop.run_until_complete(played)
    except Exception as exc:
        mischief.over = True  # to say where makes objects, and so collections
        mischief.say(f"raised {type(exc).__name__}: {exc} at {where(exc)}")
        print(mischief.wrong, file=sys.stderr, flush=True)  # should what follows never end
        played.cancel()  # it was left in the middle where the loop itself has raised
        with contextlib.suppress(Exception, asyncio.CancelledError):
            loop.run_until_complete(played)
    mischief.over = True
    with contextlib.suppress(RuntimeError):
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    gc.set_threshold(700)
    gc.collect()
    return {"seed": seed, "wrong": mischief.wrong, "acts": mischief.acts, "callbacks": mischief.scheduled}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--loop", default="edgeloop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--limit", type=float, default=20.0)
    options = parser.parse_args(arguments)
    new_loop = loop_maker(options.loop)
    contexts()
    new_loop().close()
    gc.collect()
    gc.freeze()
    for seed in range(options.seed, options.seed + options.runs):
        found = forked(lambda seed=seed: perform(options.scenario, seed, new_loop), options.limit)  # type: ignore[misc]
        print(json.dumps({"seed": seed} | found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
