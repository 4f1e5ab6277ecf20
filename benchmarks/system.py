"""What a loop asks of threads, processes and the clock:

threads     wake_us      median time from call_soon_threadsafe in another thread, while the loop sleeps, to the callback
            executor_us  CPU of a round trip through run_in_executor
            literal_us   CPU of getaddrinfo of an address, which needs no lookup
spawn       spawn_us     CPU of the loop's process for create_subprocess_exec of /bin/true and its wait
pipes       pipe_us      CPU for each MiB written to a pipe through one transport and read through another
sleeps      off_us       how far from its moment a call_later(200 us) ran, mean, in microseconds
            early_us     how much too early the earliest was, 0 if none was
"""

from __future__ import annotations

import asyncio
import os
import statistics
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.coroutines import cpu_ns

#: Long enough for the loop to fall asleep before it is woken up, in seconds.
REST = 0.001
NAP = 200e-6
MEBIBYTE = 2**20
CHUNK = 64 * 1024


async def wake_up(seconds: float) -> float:
    """Median microseconds until a sleeping loop runs what another thread has scheduled."""
    loop = asyncio.get_running_loop()
    taken: list[int] = []
    finished = loop.create_future()
    deadline = time.monotonic() + seconds

    def wake() -> None:
        while time.monotonic() < deadline:
            time.sleep(REST)
            loop.call_soon_threadsafe(woken, time.perf_counter_ns())
        loop.call_soon_threadsafe(finished.set_result, None)

    def woken(called: int) -> None:
        taken.append(time.perf_counter_ns() - called)

    thread = threading.Thread(target=wake)
    thread.start()
    await finished
    thread.join()
    return statistics.median(taken) / 1000


async def executor_round_trips() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(100):
        await loop.run_in_executor(None, int)


async def literal_lookups() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(100):
        await loop.getaddrinfo("127.0.0.1", 80)


async def threads(seconds: float) -> dict[str, float]:
    return {
        "wake_us": await wake_up(seconds / 3),
        "executor_us": await cpu_ns(seconds / 3, executor_round_trips, 100) / 1000,
        "literal_us": await cpu_ns(seconds / 3, literal_lookups, 100) / 1000,
    }


async def spawn_one() -> None:
    process = await asyncio.create_subprocess_exec("/bin/true")
    await process.wait()


async def spawn(seconds: float) -> dict[str, float]:
    return {"spawn_us": await cpu_ns(seconds, spawn_one, 1) / 1000}


class Reading(asyncio.Protocol):
    """Counts what comes out of the pipe, and says when a MiB is complete."""

    def __init__(self) -> None:
        self.received = 0
        self.complete: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received >= MEBIBYTE and self.complete is not None:
            self.complete.set_result(None)
            self.complete = None


async def pipes(seconds: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    reader, protocol = await loop.connect_read_pipe(Reading, os.fdopen(reading, "rb", 0))
    writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writing, "wb", 0))
    chunk = bytes(CHUNK)

    async def send() -> None:
        protocol.received = 0
        protocol.complete = loop.create_future()
        for _ in range(MEBIBYTE // CHUNK):
            writer.write(chunk)
        await protocol.complete

    found = await cpu_ns(seconds, send, 1) / 1000
    writer.close()
    reader.close()
    return {"pipe_us": found}


async def sleeps(seconds: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    late: list[float] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        due = loop.create_future()
        before = time.monotonic()
        loop.call_later(NAP, due.set_result, None)
        await due
        late.append(time.monotonic() - before - NAP)
    # Not the mean of all with their signs: a loop that sleeps too short would be ahead of one that is exact.
    return {"off_us": 1e6 * statistics.fmean(map(abs, late)), "early_us": 1e6 * max(0.0, -min(late))}


SUBJECTS: dict[str, Callable[[float], Coroutine[Any, Any, dict[str, float]]]] = {
    "threads": threads,
    "spawn": spawn,
    "pipes": pipes,
    "sleeps": sleeps,
}
