"""Plays scenarios again and again, and says what each repetition leaves behind.

``python hunt.py [--loop asyncio] [--batches N] [--plays N] [SCENARIO ...]``: one line of JSON for each scenario. After a
warm-up each scenario is played in batches, until two of them have left nothing behind. What caches keep is kept in one batch
and not in the next; what is lost, is lost in each.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import contextlib
import ctypes
import gc
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import scenarios_of_ends
import scenarios_of_files
import scenarios_of_streams
import scenarios_of_the_loop
from campaign import loop_maker
from failing_calls import FailingCalls
from stage import Stage

Scenario = Callable[[Stage], None]

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for module in (scenarios_of_streams, scenarios_of_files, scenarios_of_the_loop, scenarios_of_ends)
    for scenario in module.SCENARIOS
}

LEFT: list[object] = []


def leaky_objects(stage: Stage) -> None:
    """Leaves a list behind: the hunt must notice."""
    LEFT.append([])


def leaky_memory(stage: Stage) -> None:
    """Leaves memory of the C library's behind."""
    ctypes.CDLL(None).malloc(4096)


BROKEN: dict[str, Scenario] = {scenario.__name__: scenario for scenario in (leaky_objects, leaky_memory)}

#: So many batches that leave nothing behind, and it is no leak.
ENOUGH = 2


class NoFailingCalls(FailingCalls):
    """Stands for the library that makes system calls fail, which is not loaded here."""

    def __init__(self) -> None:
        pass

    def fired(self) -> tuple[str, int]:
        return "", 0

    @contextlib.contextmanager
    def calm(self) -> Iterator[None]:
        yield


class MallocInformation(ctypes.Structure):
    """struct mallinfo2 of mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def malloc_bytes() -> int:
    """Return how many bytes of the C library's are in use; 0 where that can't be asked (glibc before 2.33, a sanitizer)."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    ask.restype = MallocInformation
    found = ask()
    return int(found.uordblks + found.hblkhd)


def references() -> int:
    """Return how many references there are in all; 0 but for CPython's debug build."""
    count: Any = getattr(sys, "gettotalrefcount", lambda: 0)
    return int(count())


MEASURES: dict[str, Callable[[], int]] = {
    "blocks": sys.getallocatedblocks,
    "references": references,
    "objects": lambda: len(gc.get_objects()),
    "malloc": malloc_bytes,
}


#: What each play may leave behind: a task's name is kept by some versions of asyncio's C half, and threads end late.
SLACK = {"blocks": 1, "references": 0, "objects": 0, "malloc": 100}

#: What a scenario adds to what is kept on purpose: the compiled edition has tables of 1024 addresses of datagrams.
KEPT = {"datagrams": {"blocks": 8, "references": 8}}


def measured() -> tuple[int, ...]:
    """Return all measures."""
    return tuple(measure() for measure in MEASURES.values())


def kinds() -> Counter[str]:
    """Return how many objects of each type the collector knows."""
    return Counter(f"{type(found).__module__}.{type(found).__qualname__}" for found in gc.get_objects())


def empty_type_cache() -> None:
    """Empty CPython's cache of attributes of types.

    It keeps up to 4096 names alive, at places that depend on the names' addresses. reprlib makes a new name for each object
    that it shows: with many reports the cache grows for more batches than are played.
    """
    empty: Callable[[], None] = getattr(sys, "_clear_type_cache", lambda: None)  # PyPy has none
    empty()


def settle() -> None:
    """Wait until the threads of executors have ended, and collect."""
    deadline = time.monotonic() + 10
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    for _ in range(3):
        gc.collect()
    empty_type_cache()


def hunt(
    scenario: Scenario, new_loop: Callable[[], asyncio.AbstractEventLoop], batches: int, plays: int
) -> dict[str, Any]:
    """Return what there is more of after each batch, and which of it never stops to grow."""
    wrong: set[str] = set()

    def batch() -> None:
        for _ in range(plays):
            stage = Stage(new_loop, NoFailingCalls())
            scenario(stage)
            wrong.update(stage.verdict(None, False))
            stage.witnesses.clear()
        settle()

    growth = {name: array.array("q") for name in MEASURES}  # not of objects: they would count themselves
    batch()
    if scenarios_of_streams.contexts.cache_info().currsize:
        scenarios_of_streams.contexts()[0].num_tickets = 0  # a context keeps the session of each ticket, for its life
    batch()
    growing = set(MEASURES) if batches else set()
    slack = {**SLACK, **KEPT.get(scenario.__name__, {})}
    before = measured()
    for _ in range(batches):
        batch()
        after = measured()
        for name, was, is_now in zip(MEASURES, before, after, strict=True):
            growth[name].append(is_now - was)
        before = after
        growing = {name for name, more in growth.items() if sum(one <= slack[name] * plays for one in more) < ENOUGH}
        if not growing:
            break
    types: dict[str, int] = {}
    if growing:
        seen = kinds()
        batch()
        types = dict(kinds() - seen)
    found = {name: list(more) for name, more in growth.items()}
    return {
        "scenario": scenario.__name__,
        "growth": found,
        "leaks": sorted(growing),
        "types": types,
        "wrong": sorted(wrong),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenarios", choices=[*SCENARIOS, *BROKEN, []], nargs="*", default=[])
    parser.add_argument("--loop", default="edgeloop")
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--plays", type=int, default=2)
    options = parser.parse_args(arguments)
    new_loop = loop_maker(options.loop)
    for name in options.scenarios or SCENARIOS:
        found = hunt((SCENARIOS | BROKEN)[name], new_loop, options.batches, options.plays)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
