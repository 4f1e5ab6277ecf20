"""What is measured inside one process: ``python -m benchmarks.inside SUBJECT LOOP SECONDS [PORT]``.

PORT is where the server listens that a client's subject asks; the others have no peer.
Prints one line of JSON: the figures of the subject (callbacks, coroutines, system and clients say which), and
``waited``, the percentage of the time that the process waited for a CPU.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks import callbacks, clients, coroutines, system
from benchmarks.loops import factory_or_exit
from benchmarks.server import die_with_parent

#: What measures for so many seconds and returns its figures.
Subject = Callable[[float], Coroutine[Any, Any, dict[str, float]]]

SUBJECTS: dict[str, Subject] = {**callbacks.SUBJECTS, **coroutines.SUBJECTS, **system.SUBJECTS}


async def with_waiting(figures: Coroutine[Any, Any, dict[str, float]]) -> dict[str, float]:
    waited, started = waited_ns(), time.monotonic_ns()
    found = await figures
    return {**found, "waited": 100 * (waited_ns() - waited) / (time.monotonic_ns() - started)}


def waited_ns() -> int:
    """Nanoseconds that this process was ready to run and did not (the kernel's sched-stats document)."""
    return int(Path("/proc/self/schedstat").read_text().split()[1])


def main() -> None:
    die_with_parent()
    subject, name, seconds, *port = sys.argv[1:]
    with asyncio.Runner(loop_factory=factory_or_exit(name)) as runner:
        if port:
            figures = clients.SUBJECTS[subject](float(seconds), int(port[0]))
        else:
            figures = SUBJECTS[subject](float(seconds))
        print(json.dumps(runner.run(with_waiting(figures))))


if __name__ == "__main__":
    main()
