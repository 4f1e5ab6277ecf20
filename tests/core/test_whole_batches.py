"""What was due when a turn began runs before what comes later, however long it takes: asyncio's order, which programs see.

So a turn's share is bounded for what the loop reads, accepts and sends (docs/architecture.md, Whose turn it is), and not for
these.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

COUNT = 20
SLOW = 0.0003  # seconds: two take longer than any share of a turn

Flood = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Any]


def soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    for _ in range(COUNT):
        loop.call_soon(callback)


def by_threads(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    def call() -> None:
        for _ in range(COUNT):
            loop.call_soon_threadsafe(callback)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def timers(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    for number in range(COUNT):
        loop.call_at(loop.time() - COUNT + number, callback)


@pytest.mark.parametrize("flood", [soon, by_threads, timers])
def test_nothing_that_arrives_meanwhile_comes_between(loop: asyncio.AbstractEventLoop, flood: Flood) -> None:
    """Neither a byte that a reader waits for, nor what the callbacks schedule."""
    order: list[str] = []
    ours, peer = socket.socketpair()

    def callback() -> None:
        if not order:
            peer.send(b"x")
        order.append("flood")
        loop.call_soon(order.append, "soon")
        time.sleep(SLOW)

    def read() -> None:
        order.append("read")
        ours.recv(1)
        loop.stop()

    with ours, peer:
        loop.add_reader(ours, read)
        limit = loop.call_later(30, loop.stop)
        loop.call_soon(flood, loop, callback)
        loop.run_forever()
        limit.cancel()
        loop.remove_reader(ours)
    assert order[:COUNT] == ["flood"] * COUNT
    assert sorted(order[COUNT:]) == ["read"] + ["soon"] * COUNT
