"""A loop that is watched, and a callback of it that blocks until the watchdog has reported that."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from repository import ROOT

ATTEMPTS = 100  # on a busy machine a thread may not have come to its system call when the watchdog looks


class Reports:
    """A receiver of reports, which lets the callback that they are about end."""

    def __init__(self, end: Callable[[], object] = lambda: None, phase: str = "begun") -> None:
        self.seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._end = end
        self._phase = phase

    def __call__(self, report: Any) -> None:
        self.seen.put(report)
        if report.phase == self._phase:
            self._end()

    def next(self) -> Any:
        return self.seen.get(timeout=60)


def blocked(
    loop: asyncio.AbstractEventLoop, block: Callable[[], object], reports: Reports, threshold: float = 0.02
) -> list[Any]:
    """Run ``block`` in a task of the loop, which is watched, and return the reports up to that of its end."""
    import edgeloop

    async def handler() -> None:
        block()

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(handler(), name="the slow one")
        await task

    found: list[Any] = []
    with edgeloop.watch(loop, threshold, report=reports):
        loop.run_until_complete(main())
        while not found or found[-1].phase != "ended":
            found.append(reports.next())
    return found


def blocked_as(kind: str, attempt: Callable[[], list[Any]], attempts: int = ATTEMPTS) -> list[Any]:
    """Repeat an attempt until its first report is of this kind, as it is on a machine that is not busy."""
    seen = []
    for _ in range(attempts):
        found = attempt()
        if found[0].kind == kind:
            return found
        seen.append((found[0].kind, found[0].system_call))
    raise AssertionError(f"no report says {kind!r}, but {seen}")


@contextmanager
def program(text: str, env: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program in a process of its own, with pipes."""
    process = subprocess.Popen(
        [sys.executable, *options, "-c", text],
        env=env,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
