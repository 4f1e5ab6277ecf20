"""What was written over TLS leaves with all the layers below, and not only our own (rule 5)."""

from __future__ import annotations

import asyncio
import time

import pytest
from recording import Recorder
from tls_answers import QUICK, Answering, exchange, has_something
from tls_peer import secured


@pytest.mark.fair_weather  # what the kernel does not take leaves later
async def test_the_first_answer_is_there_while_its_handler_goes_on() -> None:
    async with secured(Answering) as (_, protocol, peer):
        seen: list[bool] = []
        protocol.then = lambda: seen.append(has_something(peer.sock))
        await exchange(peer, 1)
        assert seen == [True]


@pytest.mark.fair_weather  # what the kernel does not take leaves later
@pytest.mark.edgeloop_only  # asyncio gathers nothing
async def test_a_handler_that_begins_to_take_its_time_is_late_once() -> None:
    async with secured(Answering) as (_, protocol, peer):
        seen: list[bool] = []

        def compute() -> None:
            time.sleep(0.005)
            seen.append(has_something(peer.sock))

        await exchange(peer, QUICK)
        protocol.then = compute
        await exchange(peer, 10)
        assert seen[1:] == [True] * 9


def test_what_is_written_between_two_runs_leaves_when_the_loop_closes(loop: asyncio.AbstractEventLoop) -> None:
    entering = secured(Recorder)
    transport, _, peer = loop.run_until_complete(entering.__aenter__())
    transport.write(b"QUIT\r\n")
    loop.close()
    peer.incoming.write(peer.sock.recv(1000))
    assert peer.ssl.read(100) == b"QUIT\r\n"
    peer.sock.close()
    transport.get_extra_info("socket")._sock.close()
