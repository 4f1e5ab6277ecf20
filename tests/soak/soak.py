"""Everything at once on one loop, for an hour: what is measured must stay flat, and nothing may be left at the end.

    python tests/soak/soak.py --seconds 3600

Connections come and go, are reset, closed in the middle and flooded, with and without TLS; children start and are killed;
timers are set and cancelled; datagrams, threads and signals do their part. Meanwhile twenty connections ask and are answered,
one question a time: their 99 % mark at the end is printed beside the one at the start. Memory, descriptors, tasks and threads
are sampled each second. The exit code is 1 if one of them grew, if an answer was wrong or if the loop reported anything.

What else the machine does changes, and the marks with it. So there are two more: of the processor's time that this process
spent until an answer came, and of the same questions on a bare asyncio loop, in a process beside it (``--bare``).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from soak_work import WORK, Soak, ask

Work = Callable[[Soak], Awaitable[None]]
#: The marks of some questions at the start and at the end, by their share.
Marks = dict[str, list[float]]

PAGE = resource.getpagesize()
SHARES = (0.5, 0.99)
BARE: list[tuple[Work, int]] = [(ask, 20)]
#: Below this a run is a trial of the program: nothing has come to rest, and memory is not judged.
SHORTEST_JUDGED = 120


class Latencies:
    """Counts of durations in classes that are 5 % wide, so that memory doesn't grow with their number."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        microseconds, width = max(seconds * 1e6, 1.0), 0
        while microseconds > 1.05:
            microseconds /= 1.05
            width += 1
        self.counts[width] += 1

    def mark(self, share: float) -> float:
        """The duration, in microseconds, below which that share of them is."""
        left = share * sum(self.counts.values())
        for width in sorted(self.counts):
            left -= self.counts[width]
            if left <= 0:
                return float(1.05**width)
        return 0.0


class Questions:
    """How long the questions of a fifth of the run took: by the clock, and of the processor's time."""

    def __init__(self) -> None:
        self.clock, self.processor = Latencies(), Latencies()

    def add(self, seconds: float, processor: float) -> None:
        self.clock.add(seconds)
        self.processor.add(processor)


class Samples:
    """What the process holds, once a second."""

    def __init__(self) -> None:
        self.taken: dict[str, list[int]] = {"resident KiB": [], "descriptors": [], "tasks": [], "threads": []}

    def take(self) -> None:
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE // 1024
        for name, value in (
            ("resident KiB", resident),
            ("descriptors", len(os.listdir("/proc/self/fd"))),
            ("tasks", len(asyncio.all_tasks())),
            ("threads", threading.active_count()),
        ):
            self.taken[name].append(value)

    def ends(self, name: str) -> tuple[float, float]:
        """The medians of the second and of the last fifth: the first is for warming up."""
        values = self.taken[name]
        fifth = max(1, len(values) // 5)
        return median(values[fifth : 2 * fifth] or values), median(values[-fifth:])


#: What comes and goes with the work that is under way when a sample is taken.
SLACK = {"resident KiB": 2048, "descriptors": 40, "tasks": 120, "threads": 8}


def grew(name: str, start: float, end: float) -> bool:
    """Whether that is more than what comes and goes."""
    return end > start * 1.05 + SLACK[name]


async def measure(soak: Soak, seconds: int, samples: Samples, first: Questions, last: Questions) -> None:
    begin = time.monotonic()
    fifth = seconds / 5
    between = Questions()
    soak.note_latency = between.add
    while (elapsed := time.monotonic() - begin) < seconds:
        if elapsed >= 4 * fifth:
            soak.note_latency = last.add
        elif elapsed >= 2 * fifth:
            soak.note_latency = between.add
        elif elapsed >= fifth:
            soak.note_latency = first.add
        samples.take()
        await asyncio.sleep(min(1.0, max(0.1, seconds / 20)))


async def run(
    seconds: int, seed: int, samples: Samples, first: Questions, last: Questions, works: list[tuple[Work, int]]
) -> Soak:
    soak = Soak(random.Random(seed))
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: soak.fault(repr(context)))
    await soak.begin()

    async def repeat(work: Work) -> None:
        while not soak.over:
            try:
                await work(soak)
            except Exception as exc:
                soak.fault(f"{work.__name__}: {exc!r}")
                await asyncio.sleep(0.1)
            soak.done[work.__name__] += 1

    working = [asyncio.create_task(repeat(work)) for work, times in works for _ in range(times)]
    await measure(soak, seconds, samples, first, last)
    soak.over = True
    _, pending = await asyncio.wait(working, timeout=60)
    for task in pending:
        soak.fault(f"hangs: {task!r}")
        task.cancel()
    await soak.end()
    await asyncio.sleep(0.2)
    return soak


def marks(first: Latencies, last: Latencies) -> Marks:
    return {f"{share:.0%}": [first.mark(share), last.mark(share)] for share in SHARES}


def report(
    soak: Soak, seconds: int, samples: Samples, first: Questions, last: Questions, bare: Marks, left: list[str]
) -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{seconds} s, {usage.ru_utime + usage.ru_stime:.0f} s of CPU time")
    for name, count in sorted(soak.done.items()):
        print(f"  {name:24} {count:10,}")
    failed = False
    print(f"{'':34}{'at the start':>14}{'at the end':>14}")
    for name in samples.taken:
        start, end = samples.ends(name)
        bad = seconds >= SHORTEST_JUDGED and grew(name, start, end)
        failed = failed or bad
        print(f"{name:34}{start:14,.0f}{end:14,.0f}{'  grew' if bad else ''}")
    for what, found in (
        ("an answer", marks(first.clock, last.clock)),
        ("of the processor", marks(first.processor, last.processor)),
        ("on a bare loop", bare),
    ):
        for share, (start, end) in found.items():
            print(f"{f'{what}, {share} mark, us':34}{start:14,.0f}{end:14,.0f}{end / (start or 1):8.2f}")
    for text in left:
        print("left behind:", text)
    for text, count in soak.faults.most_common(20):
        print(f"fault ({count}):", text)
    failed = failed or bool(left) or bool(soak.faults)
    print("FAILED" if failed else "flat, and nothing left behind")
    return int(failed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=0, help="0: a new one")
    parser.add_argument("--loop", choices=("edgeloop", "asyncio"), default="edgeloop")
    parser.add_argument("--bare", action="store_true", help="only the questions, on asyncio's loop; prints JSON")
    chosen = parser.parse_args()
    seed = chosen.seed or random.randrange(1, 1 << 32)
    if chosen.bare:
        questions = Questions(), Questions()
        asyncio.run(run(chosen.seconds, seed, Samples(), *questions, BARE))
        print(json.dumps(marks(*(one.clock for one in questions))))
        return 0
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
    edition = ""
    if chosen.loop == "edgeloop":
        import edgeloop

        factory, edition = edgeloop.new_event_loop, f", {edgeloop.EDITION} edition"
    print(f"{chosen.loop}{edition}, Python {sys.version.split()[0]}, seed {seed}", flush=True)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    samples, first, last = Samples(), Questions(), Questions()
    bare = subprocess.Popen(
        [sys.executable, __file__, "--bare", "--seconds", str(chosen.seconds)], stdout=subprocess.PIPE, text=True
    )
    before = sorted(os.listdir("/proc/self/fd"))
    with asyncio.Runner(loop_factory=factory) as runner:
        soak = runner.run(run(chosen.seconds, seed, samples, first, last, WORK))
        unfinished = asyncio.all_tasks(runner.get_loop())
    gc.collect()
    left = [f"task {task!r}" for task in unfinished]
    left += [f"descriptor {name}" for name in sorted(os.listdir("/proc/self/fd")) if name not in before]
    left += [f"thread {thread!r}" for thread in threading.enumerate() if thread is not threading.main_thread()]
    found: Marks = json.loads(bare.communicate()[0])
    return report(soak, chosen.seconds, samples, first, last, found, left)


if __name__ == "__main__":
    sys.exit(main())
