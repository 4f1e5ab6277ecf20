"""How many turns an event takes: a loop that has nothing to do sleeps, and does not look again first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
from recording import Recorder, attach

import edgeloop

pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather]  # asyncio counts no turns; weather makes events


ATTEMPTS = 20  # a busy machine may let a wait end early, or the sleep be over before the events are looked at


async def at_most(more: int, act: Callable[[], object], seconds: float = 0.01) -> None:
    """Fail unless a sleep after ``act`` takes at most so many turns more than one before it, at least once."""
    alone = await turns_of_a_sleep()
    counts: list[int] = []
    for _ in range(ATTEMPTS):
        act()
        counts.append(await turns_of_a_sleep(seconds) - alone)
        if counts[-1] <= more:
            return
    pytest.fail(f"it took {counts} turns more")


async def turns_of_a_sleep(seconds: float = 0.01) -> int:
    loop = asyncio.get_running_loop()
    before = edgeloop.stats(loop).turns
    await asyncio.sleep(seconds)
    return edgeloop.stats(loop).turns - before


@pytest.mark.parametrize("count", [1, 3])
async def test_events_of_connections_take_one_turn(count: int) -> None:
    pairs = [socket.socketpair() for _ in range(count)]
    protocols = [Recorder() for _ in pairs]
    transports = [await attach(ours, protocol) for (ours, _), protocol in zip(pairs, protocols, strict=True)]

    def send() -> None:
        for _, theirs in pairs:
            theirs.send(b"x")

    await at_most(2, send)  # the events, and what a Recorder schedules then
    assert {bytes(protocol.received)[:1] for protocol in protocols} == {b"x"}
    for transport in transports:
        transport.abort()
    await asyncio.gather(*(protocol.lost() for protocol in protocols))
    for _, theirs in pairs:
        theirs.close()


async def test_an_event_of_a_reader_takes_one_turn(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        received = []
        loop.add_reader(ours, lambda: received.append(ours.recv(10)))
        await at_most(1, lambda: theirs.send(b"x"))
        assert received[0] == b"x"
        loop.remove_reader(ours)


async def test_a_long_sleep_takes_no_more_turns_than_a_short_one() -> None:
    await at_most(1, lambda: None, 0.2)
