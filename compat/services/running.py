"""Runs a test's coroutine on the loop under test, and knows free ports."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 120.0  # seconds after which a test has failed


def run(coroutine: Coroutine[object, object, T]) -> T:
    """Like ``asyncio.run``, on what is the default loop here: it has to be the loop that this run is about."""

    async def main() -> T:
        expected = os.environ["EDGELOOP_COMPAT_LOOP"].partition(":")[0]
        assert type(asyncio.get_running_loop()).__module__.partition(".")[0] == expected
        return await asyncio.wait_for(coroutine, DEADLINE)

    return asyncio.run(main())


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
