"""Coroutines and tasks, in CPU nanoseconds for each. Most of the work is the interpreter's own, on every loop:

tasks       sleep_ns    await asyncio.sleep(0), in one task that does nothing else
            create_ns   create_task and the end of a task that doesn't wait, one of 100 at a time
            gather_ns   one of 100 coroutines that asyncio.gather waits for, each with one sleep(0)
            timeout_ns  async with asyncio.timeout(60) around a sleep(0)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

#: Operations between two looks at the clock.
BATCH = 1000
TOGETHER = 100


async def cpu_ns(seconds: float, batch: Callable[[], Coroutine[Any, Any, None]], operations: int = BATCH) -> float:
    """CPU nanoseconds for each of the ``operations`` of a batch, which is repeated for ``seconds``."""
    await batch()  # what is made once and kept
    deadline = time.monotonic() + seconds
    before, done = time.process_time_ns(), 0
    while time.monotonic() < deadline:
        await batch()
        done += operations
    return (time.process_time_ns() - before) / done


async def sleeps() -> None:
    for _ in range(BATCH):
        await asyncio.sleep(0)


async def nothing() -> None:
    pass


async def create() -> None:
    create_task = asyncio.get_running_loop().create_task
    for _ in range(BATCH // TOGETHER):
        tasks = [create_task(nothing()) for _ in range(TOGETHER)]
        await tasks[-1]


async def gather() -> None:
    for _ in range(BATCH // TOGETHER):
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(TOGETHER)))


async def timeouts() -> None:
    for _ in range(BATCH):
        async with asyncio.timeout(60):
            await asyncio.sleep(0)


async def tasks(seconds: float) -> dict[str, float]:
    return {
        "sleep_ns": await cpu_ns(seconds / 4, sleeps),
        "create_ns": await cpu_ns(seconds / 4, create),
        "gather_ns": await cpu_ns(seconds / 4, gather),
        "timeout_ns": await cpu_ns(seconds / 4, timeouts),
    }


SUBJECTS: dict[str, Callable[[float], Coroutine[Any, Any, dict[str, float]]]] = {"tasks": tasks}
