from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

Run = Callable[[Coroutine[Any, Any, Any]], Any]
LOOPS = {"asyncio": "asyncio.unix_events._UnixSelectorEventLoop", "edgeloop": "edgeloop.loop.EventLoop"}


@pytest.fixture
def run() -> Run:
    """Runs a test's coroutine on the default loop, which has to be the one that this run is about."""

    async def checked(main: Coroutine[Any, Any, Any]) -> Any:
        loop = type(asyncio.get_running_loop())
        assert f"{loop.__module__}.{loop.__qualname__}" == LOOPS[os.environ["EDGELOOP_COMPAT_LOOP"]]
        async with asyncio.timeout(120):
            return await main

    return lambda main: asyncio.run(checked(main))
