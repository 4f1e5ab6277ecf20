"""Callbacks and timers, in CPU nanoseconds (user and system, all threads of the process) for each:

callsoon    turn_ns    a callback that schedules itself: one whole turn of the loop, its epoll_wait included
            batch_ns   one of 1000 callbacks that are scheduled together
            args_ns    the same with two arguments
            safe_ns    one of 1000 that the loop's own thread schedules with call_soon_threadsafe
timers      cancel_ns  call_later, then cancel, 1000 of them each turn
            fire_ns    call_at and the callback, one of 1000 that are due at the same moment
            spread_ns  the same when the 1000 are due at 100 moments of one millisecond: a loop with a clock of
                       milliseconds wakes up once for them, a loop that is exact to microseconds wakes up more often
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

BATCH = 1000
FAR_AWAY = 3600.0
MILLISECOND = 0.001


class Repeat:
    """Awaiting it runs ``step`` until the time is up; ``step`` gets it and calls ``done`` when a batch is finished."""

    def __init__(self, seconds: float, step: Callable[[Repeat], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.step = step
        self.operations = 0
        self.finished: asyncio.Future[None] = self.loop.create_future()
        self.deadline = time.monotonic() + seconds

    def done(self, operations: int) -> None:
        self.operations += operations
        if time.monotonic() < self.deadline:
            self.step(self)
        else:
            self.finished.set_result(None)

    async def cpu_ns(self) -> float:
        """CPU nanoseconds for each operation."""
        before = time.process_time_ns()
        self.loop.call_soon(self.step, self)
        await self.finished
        return (time.process_time_ns() - before) / self.operations


def chain(repeat: Repeat) -> None:
    left = BATCH
    call_soon = repeat.loop.call_soon

    def link() -> None:
        nonlocal left
        left -= 1
        if left:
            call_soon(link)
        else:
            repeat.done(BATCH)

    call_soon(link)


def nothing(*arguments: object) -> None:
    pass


def batch(repeat: Repeat) -> None:
    call_soon = repeat.loop.call_soon
    for _ in range(BATCH):
        call_soon(nothing)
    call_soon(repeat.done, BATCH)


def batch_with_arguments(repeat: Repeat) -> None:
    call_soon = repeat.loop.call_soon
    for number in range(BATCH):
        call_soon(nothing, repeat, number)
    call_soon(repeat.done, BATCH)


def batch_threadsafe(repeat: Repeat) -> None:
    call_soon_threadsafe = repeat.loop.call_soon_threadsafe
    for _ in range(BATCH):
        call_soon_threadsafe(nothing)
    call_soon_threadsafe(repeat.done, BATCH)


def cancel(repeat: Repeat) -> None:
    call_later = repeat.loop.call_later
    for _ in range(BATCH):
        call_later(FAR_AWAY, nothing).cancel()
    repeat.loop.call_soon(repeat.done, BATCH)


def fire(repeat: Repeat) -> None:
    fire_at_moments(repeat, 1)


def fire_spread(repeat: Repeat) -> None:
    fire_at_moments(repeat, 100)


def fire_at_moments(repeat: Repeat, moments: int) -> None:
    left = BATCH
    call_at = repeat.loop.call_at
    first = repeat.loop.time() + MILLISECOND

    def fired() -> None:
        nonlocal left
        left -= 1
        if not left:
            repeat.done(BATCH)

    for number in range(BATCH):
        call_at(first + MILLISECOND * (number % moments) / moments, fired)


async def callsoon(seconds: float) -> dict[str, float]:
    return {
        "turn_ns": await Repeat(seconds / 4, chain).cpu_ns(),
        "batch_ns": await Repeat(seconds / 4, batch).cpu_ns(),
        "args_ns": await Repeat(seconds / 4, batch_with_arguments).cpu_ns(),
        "safe_ns": await Repeat(seconds / 4, batch_threadsafe).cpu_ns(),
    }


async def timers(seconds: float) -> dict[str, float]:
    return {
        "cancel_ns": await Repeat(seconds / 3, cancel).cpu_ns(),
        "fire_ns": await Repeat(seconds / 3, fire).cpu_ns(),
        "spread_ns": await Repeat(seconds / 3, fire_spread).cpu_ns(),
    }


SUBJECTS: dict[str, Callable[[float], Coroutine[Any, Any, dict[str, float]]]] = {"callsoon": callsoon, "timers": timers}
