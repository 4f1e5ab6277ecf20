"""One loop of the differential campaign: takes programs, a line of JSON each, and answers with their traces.

    python worker.py asyncio|uvloop|edgeloop    the edition as EDGELOOP_PURE says

It stays up: starting an interpreter takes longer than playing a hundred programs.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import json
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import reference_loop
from worker_traces import LogTrace, Trace

LIMIT_SECONDS = 20
Factory = Callable[[], asyncio.AbstractEventLoop]


def factory_of(name: str) -> Factory:
    """What makes a loop of that name."""
    reference_loop.mend_streams()
    if name == "asyncio":
        reference_loop.mend()
        return asyncio.SelectorEventLoop
    factory: Factory = importlib.import_module(name).new_event_loop
    return factory


class Hung(BaseException):
    """A program took too long."""


def give_up(signum: int, frame: Any) -> None:
    raise Hung


def play(program: dict[str, Any], factory: Factory) -> list[Any]:
    """The trace of a program on a new loop."""
    trace = Trace()
    player = importlib.import_module(f"play_{program['kind']}")
    log = LogTrace(trace)
    logger = logging.getLogger("asyncio")
    logger.addHandler(log)
    limit = LIMIT_SECONDS * (1 + program.get("patience", 0))
    signal.setitimer(signal.ITIMER_REAL, limit, 1.0)  # again: a loop reports what its callback raises, and goes on
    try:
        player.play(program, factory, trace)
    except Hung:
        signal.setitimer(signal.ITIMER_REAL, 0)
        trace.note("program", "hung", traceback.format_exc().splitlines()[-3:])
    except BaseException as exc:
        trace.note("program", "ended by", exc)  # the traceback has the names of each loop's files
        traceback.print_exception(exc)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect(0)
        logger.removeHandler(log)
    return trace.finish()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a program or its children print is not an answer
    questions = os.fdopen(os.dup(0), "r")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.enable()
    signal.signal(signal.SIGALRM, give_up)
    logger = logging.getLogger("asyncio")
    logger.propagate = False
    warnings.simplefilter("ignore")
    name = sys.argv[1]
    factory = factory_of(name)
    edition = getattr(sys.modules.get("edgeloop"), "EDITION", "")
    print(json.dumps({"loop": name, "edition": edition, "version": sys.version}), file=answers, flush=True)
    for line in questions:
        print(json.dumps(play(json.loads(line), factory)), file=answers, flush=True)


if __name__ == "__main__":
    main()
