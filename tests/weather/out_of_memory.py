"""Out of memory: runs a scenario again and again, and has one of edgeloop's allocations fail in each run.

``python out_of_memory.py [--first N] [--every N] [--runs N] [--limit SECONDS] SCENARIO [NUMBER]``, with failing_calls.so
preloaded. Each run is a forked process, as in campaign.py, and a line of JSON; the last is the summary. The first run has the
first of edgeloop's allocations fail, the next the one after it, or with ``--every`` one of so many. NUMBER: this one alone.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import faulthandler
import gc
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import scenarios_of_streams
from campaign import SCENARIOS, forked, loop_maker, perform
from failing_calls import FailingCalls
from stage import Stage

SIGNAL = signal.SIGRTMAX - 1

#: What asyncio says of a coroutine, a task or a StreamWriter that could not be begun, the interpreter of what its destructor
#: had to close, and its ssl module, which forgets to say why it failed: reports of what was given up. Descriptors and
#: children that are left count apart.
REPORTS = re.compile(
    "warned: (ResourceWarning: (unclosed|loop is closed|subprocess .* is still running)"
    "|RuntimeWarning: coroutine .* was never awaited)"
    "|reported: Task was destroyed|SystemError..error return without exception set"
)
#: What follows where a callback could not be called, for which the memory was missing: that is reported, as by asyncio. And
#: concurrent.futures logs what call_soon_threadsafe raises, where it was to pass on a result.
NOT_CALLED = re.compile("reported: Exception in callback .*MemoryError|exception calling callback for <Future")
FOLLOWS = re.compile(
    "hangs|a child's events: |connection_lost does not come|connection_made 1 times, connection_lost 0 times"
)


def faults(found: dict[str, Any]) -> list[str]:
    """What is wrong with a run, without what has been reported."""
    wrong = [what for what in found["wrong"] if not REPORTS.search(what)]
    if any(NOT_CALLED.match(line) for line in found["said"]):
        wrong = [what for what in wrong if not FOLLOWS.search(what)]
    return wrong


class FailingAllocations(FailingCalls):
    """The controls of failing_allocations.c, for what the campaign asks of those of system calls."""

    def __init__(self) -> None:
        super().__init__()
        self._library.allocations_arm.argtypes = (ctypes.c_long,)
        for name in ("allocations_disarm", "allocations_failed"):
            getattr(self._library, name).restype = ctypes.c_long
        self._library.allocations_where.restype = ctypes.c_char_p
        self._library.allocations_prepare.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_int)

    def prepare(self) -> None:
        """Put the hooks in, once in a process."""
        import edgeloop

        traceback = os.memfd_create("traceback")
        faulthandler.register(SIGNAL, traceback, all_threads=False)
        package = str(Path(edgeloop.__file__).parent) + "/"
        self._library.allocations_prepare(package.encode(), traceback, SIGNAL)

    def arm(self, number: int = 0, variant: int = 0) -> None:
        """Count this thread's allocations from here on; the first of edgeloop's from that number on fails."""
        self._library.allocations_arm(number)

    def disarm(self) -> int:
        """Let all allocations succeed; how many there were."""
        return int(self._library.allocations_disarm())

    def failed(self) -> int:
        """The number of the allocation that failed, 0 for none."""
        return int(self._library.allocations_failed())

    def fired(self) -> tuple[str, int]:
        """Whether one has failed, as for system calls."""
        return ("allocation", errno.ENOMEM) if self.failed() else ("", 0)

    def where(self) -> list[str]:
        """The Python functions that were running when it failed, the innermost first."""
        return bytes(self._library.allocations_where()).decode(errors="replace").splitlines()[1:6]

    @contextmanager
    def calm(self) -> Iterator[None]:
        """Nothing: what a scenario allocates itself never fails."""
        yield


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("number", type=int, nargs="?")
    parser.add_argument("--loop", default="edgeloop")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--limit", type=float, default=20.0)
    options = parser.parse_args(arguments)
    scenario = SCENARIOS[options.scenario]
    new_loop = loop_maker(options.loop)
    scenarios_of_streams.contexts()
    for played in {scenario, scenarios_of_streams.small_echo}:
        played(Stage(new_loop, FailingCalls()))
    gc.collect()
    gc.freeze()
    allocations = FailingAllocations()
    allocations.prepare()

    def run(number: int) -> dict[str, Any]:
        def performed() -> dict[str, Any]:
            found = perform(scenario, new_loop, lambda calls: calls.arm(number), 0, allocations)
            return found | {"number": allocations.failed(), "where": allocations.where()}

        found = forked(performed, options.limit)
        said = [line.split()[1] for line in found["said"] if line.startswith("allocation ")]
        return {"number": int(said[0]) if said else 0} | found | {"wrong": faults(found)}

    base = run(0)
    print(json.dumps(base), flush=True)
    number, runs, failed = options.number or options.first, 0, 0
    while runs < options.runs:
        found = run(number)
        if not found["number"] and not found["wrong"]:
            break  # no more allocations
        runs += 1
        failed += 1
        print(json.dumps(found), flush=True)
        if options.number is not None:
            break
        number = max(found["number"], number) + options.every
    print(json.dumps({"allocations": base.get("calls", 0), "runs": runs}))


if __name__ == "__main__":
    main(sys.argv[1:])
