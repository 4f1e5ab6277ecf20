"""The order in which a turn runs what it has, against the standard selector loop's, for programs made at random."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.fair_weather  # an event that comes a turn later has its callback run later

Factory = Callable[[], asyncio.AbstractEventLoop]


class Program:
    """Callbacks that schedule others, cancel others and stop; the same from the same seed. ``order``: what ran."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        self.loop = loop
        self.dice = random.Random(seed)
        self.order: list[Any] = []
        self.handles: list[asyncio.Handle] = []
        self.count = 0
        # A clock of the program's own, so that which timers are due is the same on each loop.
        self.clock = 1000.0
        loop.time = lambda: self.clock  # type: ignore[method-assign]
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        loop.add_reader(self.reading, self.read)

    def schedule(self, depth: int) -> None:
        self.count += 1
        number = self.count
        kind = self.dice.choice(("soon", "soon", "threadsafe", "later", "past", "at", "ahead", "write", "cancel"))
        call: tuple[Any, ...] = (self.run, kind, number, depth)
        if kind == "soon":
            self.handles.append(self.loop.call_soon(*call))
        elif kind == "threadsafe":
            self.handles.append(self.loop.call_soon_threadsafe(*call))
        elif kind == "later":
            self.handles.append(self.loop.call_later(-1e-3 * self.dice.random(), *call))
        elif kind == "past":  # never two at the same time: their order is no promise of asyncio's
            self.handles.append(self.loop.call_at(self.clock - self.dice.random(), *call))
        elif kind == "at":
            self.handles.append(self.loop.call_at(self.clock + 1e-6 * self.dice.random(), *call))
        elif kind == "ahead":
            self.handles.append(self.loop.call_later(self.dice.random(), *call))
        elif kind == "write":
            os.write(self.writing, b"x")
        elif self.handles:
            self.handles[self.dice.randrange(len(self.handles))].cancel()

    def run(self, kind: str, number: int, depth: int) -> None:
        self.order.append((kind, number))
        self.clock += 1e-3 * self.dice.random()
        for _ in range(self.dice.choice((0, 0, 1, 1, 2, 3))):
            if depth < 7:
                self.schedule(depth + 1)

    def read(self) -> None:
        self.order.append(("read", os.read(self.reading, 100)))
        for _ in range(self.dice.randrange(3)):
            self.schedule(6)

    def close(self) -> None:
        self.loop.remove_reader(self.reading)
        os.close(self.reading)
        os.close(self.writing)
        self.loop.close()


def order(factory: Factory, seed: int, turns: int) -> list[Any]:
    program = Program(factory(), seed)
    try:
        for _ in range(6):
            program.schedule(0)
        for number in range(turns):
            program.order.append(f"turn {number}")
            # What a direct system call made is asked for in each turn by both.
            program.loop.call_soon(program.order.append, "stop")
            program.loop.stop()
            program.loop.run_forever()
            program.clock += 0.05
    finally:
        program.close()
    return program.order


@pytest.mark.parametrize("block", range(10))
def test_a_program_made_at_random_runs_in_the_standard_loops_order(loop_factory: Factory, block: int) -> None:
    for seed in range(block * 30, block * 30 + 30):
        assert order(loop_factory, seed, 12) == order(asyncio.SelectorEventLoop, seed, 12), seed


def test_a_timer_never_runs_in_the_turn_that_made_it(loop: asyncio.AbstractEventLoop) -> None:
    """Whoever made it: a callback, a timer, or a reader; however long ago it is due."""
    reading, writing = os.pipe()
    called: list[str] = []

    def make(who: str) -> None:
        called.append(who)
        loop.call_soon(called.append, f"{who}: soon")
        loop.call_later(0, called.append, f"{who}: later")
        loop.call_at(loop.time() - 10, called.append, f"{who}: past")

    def read() -> None:
        os.read(reading, 1)
        make("reader")

    loop.add_reader(reading, read)
    loop.call_soon(make, "callback")
    loop.call_at(0, make, "timer")
    os.write(writing, b"x")
    try:
        loop.stop()
        loop.run_forever()
        assert called == ["callback", "reader", "timer"]
        loop.stop()
        loop.run_forever()
        expected = ["callback: soon", "reader: soon", "timer: soon"]
        assert called[3:6] == expected
        assert {text.partition(": ")[2] for text in called[6:]} == {"later", "past"}
        assert len(called) == 12
    finally:
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)


def test_soon_comes_before_later_when_it_was_asked_first(loop: asyncio.AbstractEventLoop) -> None:
    called: list[str] = []

    def first() -> None:
        loop.call_soon(called.append, "soon")
        loop.call_later(0, called.append, "later")
        loop.call_at(0, called.append, "at")
        loop.call_later(0.01, loop.stop)

    loop.call_soon(first)
    loop.run_forever()
    assert called[0] == "soon"
    assert sorted(called) == ["at", "later", "soon"]


@pytest.mark.parametrize("busy", [0, 50, 300])
def test_what_a_direct_system_call_did_is_told_about_as_soon_as_on_asyncio(
    loop: asyncio.AbstractEventLoop, busy: int
) -> None:
    """Within three turns (asyncio: two), however long callbacks have been going round without any news."""
    reading, writing = os.pipe()
    seen: list[bytes] = []

    async def main() -> list[int]:
        loop.add_reader(reading, lambda: seen.append(os.read(reading, 1)))
        turns = []
        for extra in range(40):
            for _ in range(busy + extra):
                await asyncio.sleep(0)
            os.write(writing, b"x")
            count = 0
            while not seen:
                await asyncio.sleep(0)
                count += 1
            seen.clear()
            turns.append(count)
        loop.remove_reader(reading)
        return turns

    try:
        assert max(loop.run_until_complete(main())) <= 3
    finally:
        os.close(reading)
        os.close(writing)
