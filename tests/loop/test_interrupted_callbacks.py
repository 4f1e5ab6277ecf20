"""KeyboardInterrupt out of a callback of a reader or a protocol: what its event left to do is done when the loop runs again.

All were found by tests/simulation.
"""

from __future__ import annotations

import asyncio

import pytest
from sockets import Pair

Loop = asyncio.AbstractEventLoop


def run_for(loop: Loop, seconds: float) -> None:
    """Run until something calls ``stop``, at most that long."""
    timer = loop.call_later(seconds, loop.stop)
    loop.run_forever()
    timer.cancel()


def test_a_reader_that_is_interrupted_and_leaves_something_is_called_again(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    read: list[bytes] = []

    def readable() -> None:
        read.append(ours.recv(1))
        if len(read) == 1:
            raise KeyboardInterrupt
        loop.stop()

    loop.add_reader(ours, readable)
    theirs.send(b"12")
    with pytest.raises(KeyboardInterrupt):
        run_for(loop, 10)
    run_for(loop, 10)
    loop.remove_reader(ours)
    assert read == [b"1", b"2"]
