"""Lengths and delays that are measured are those of what took the time; gauges go up and down again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest
from sockets import Pair

import edgeloop
from edgeloop import Stats

pytestmark = pytest.mark.edgeloop_only

LONG = 0.02  # seconds: the least that is asserted; a busy machine makes it more
NEAR = 1 - 1e-3  # the rate of the counter is measured


def work(seconds: float = LONG) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        pass


async def measured(prepare: Callable[[asyncio.AbstractEventLoop], object], turns: int = 1) -> Stats:
    """What is measured of a few turns, and of what the last one has added to."""
    loop = asyncio.get_running_loop()
    with edgeloop.measure(loop):
        await asyncio.sleep(0)  # from the end of a callback on
        before = edgeloop.stats(loop)
        prepare(loop)
        for _ in range(turns):
            await asyncio.sleep(0)
        return edgeloop.stats(loop) - before


async def test_what_waits_for_a_long_callback_is_delayed_by_it() -> None:
    def prepare(loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon(work)
        loop.call_soon(int)

    found = await measured(prepare)
    assert found.callback.max >= LONG * NEAR
    assert found.delay.max >= LONG * NEAR
    assert found.delay.percentile(0) <= found.delay.max


async def test_a_turn_is_as_long_as_its_callbacks_together() -> None:
    def prepare(loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(3):
            loop.call_soon(work, LONG / 3)

    found = await measured(prepare, turns=2)
    assert found.turn.max >= LONG * NEAR
    assert found.turn.sum >= found.turn.max
    assert found.callback.sum >= LONG * NEAR


async def test_a_timer_that_comes_late_is_delayed_by_as_much() -> None:
    def prepare(loop: asyncio.AbstractEventLoop) -> None:
        loop.call_at(loop.time(), int)
        work()

    found = await measured(prepare, turns=2)
    assert found.timers == 1
    assert found.delay.max >= LONG * NEAR


async def test_an_event_that_waits_for_a_callback_is_delayed(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = pair

    class Receiving(asyncio.Protocol):
        arrived: asyncio.Future[None]

        def data_received(self, data: bytes) -> None:
            self.arrived.set_result(None)

    transport, protocol = await loop.create_connection(Receiving, sock=ours)
    with edgeloop.measure(loop):
        for _ in range(100):  # a busy machine may leave the loop without a processor in the wait: that is like a sleep
            protocol.arrived = loop.create_future()
            await asyncio.sleep(0)
            before = edgeloop.stats(loop)
            theirs.send(b"x")
            work()
            await protocol.arrived
            if (edgeloop.stats(loop) - before).delay.max >= LONG * NEAR:
                break
        else:
            pytest.fail("no event was delayed")
    transport.abort()
    await asyncio.sleep(0)


async def test_a_sleep_is_no_part_of_a_turn_nor_of_a_callback() -> None:
    """A turn's length ends where its wait begins. The sleep is longer than a busy machine makes the rest."""
    loop = asyncio.get_running_loop()
    with edgeloop.measure(loop):
        await asyncio.sleep(0)
        before = edgeloop.stats(loop)
        await asyncio.sleep(0.5)
        await asyncio.sleep(0.5)
        found = edgeloop.stats(loop) - before
    assert found.seconds_idle >= 1.0 * NEAR
    assert found.turn.sum + found.callback.sum <= 2 * found.seconds_active + 1e-3


async def test_readers_writers_and_descriptors_are_counted_while_they_are_there() -> None:
    loop = asyncio.get_running_loop()
    before = edgeloop.stats(loop)
    reader, writer = os.pipe()
    loop.add_reader(reader, int)
    loop.add_writer(writer, int)
    there = edgeloop.stats(loop)
    assert there.channels.watch == before.channels.watch + 2
    assert there.descriptors == before.descriptors + 2
    assert (there - before).system_calls.epoll_ctl == 2
    loop.remove_reader(reader)
    loop.remove_writer(writer)
    os.close(reader)
    os.close(writer)
    after = edgeloop.stats(loop)
    assert (after.channels.watch, after.descriptors) == (before.channels.watch, before.descriptors)


async def test_timers_that_wait_are_counted() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    before = edgeloop.stats(loop).timers_waiting
    timers = [loop.call_later(3600, int) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert edgeloop.stats(loop).timers_waiting == before + 3
    for timer in timers:
        timer.cancel()
