"""Runs a test's coroutine on the loop under test."""

from __future__ import annotations

import asyncio
import os
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
