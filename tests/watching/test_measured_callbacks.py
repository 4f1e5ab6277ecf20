"""What measuring and instruments say of callbacks, and what they don't."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest
from recording import Recorder, attach

import edgeloop

pytestmark = pytest.mark.edgeloop_only


async def test_the_delay_of_a_timer_is_measured(loop: asyncio.AbstractEventLoop) -> None:
    with edgeloop.measure(loop):
        before = edgeloop.stats(loop).delay.count
        await asyncio.sleep(0.001)  # the timer, and the task that it wakes
        assert edgeloop.stats(loop).delay.count == before + 2


@pytest.mark.fair_weather
async def test_what_a_connection_does_is_measured_whether_it_comes_by_an_event_or_is_left_over() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()

    class OneByte(asyncio.BufferedProtocol):
        buffer = bytearray(1)
        count = 0

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.count += 1
            if self.count == 4:
                done.set_result(None)

    with theirs:
        protocol = OneByte()
        transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
        done: asyncio.Future[None] = loop.create_future()
        before = edgeloop.stats(loop).callback.count
        theirs.send(b"1234")
        await done
        assert edgeloop.stats(loop).callback.count == before  # nobody measures
        protocol.count = 0
        done = loop.create_future()
        await asyncio.sleep(0)
        with edgeloop.measure(loop):
            before = edgeloop.stats(loop).callback.count
            theirs.send(b"1234")
            await done
            # Each byte, and the task that the last one wakes; it still runs.
            assert edgeloop.stats(loop).callback.count >= before + 4
        transport.close()


@pytest.mark.parametrize("busy", [False, True])
async def test_waits_and_events_are_counted_by_ones(busy: bool) -> None:
    """Where the loop sleeps, and where it only looks because there are callbacks to run."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with theirs:
        protocol = Recorder()
        transport = await attach(ours, protocol)
        await asyncio.sleep(0.001)
        before = edgeloop.stats(loop)
        theirs.send(b"x")
        while busy and not protocol.received:
            await asyncio.sleep(0)
        await protocol.bytes_in(1)
        after = edgeloop.stats(loop)
        assert after.events == before.events + 1
        assert 0 < after.waits - before.waits <= after.turns - before.turns
        transport.abort()
        await protocol.lost()


def test_a_callback_is_not_called_slow_unless_the_loop_is_in_debug_mode(
    loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Instrument(edgeloop.Instrument):
        def before_callback(self, handle: asyncio.Handle) -> None:
            """One is enough to have callbacks attended."""

    loop.slow_callback_duration = 0.0
    loop.add_instrument(Instrument())
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        loop.run_until_complete(asyncio.sleep(0))
    assert not caplog.messages
