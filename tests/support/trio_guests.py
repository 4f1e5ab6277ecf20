"""trio as a guest of a loop, as tests start it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from outcome import Outcome

Trio = Callable[..., Awaitable[Any]]

#: With ``run_sync_soon_not_threadsafe`` and without.
both_ways = pytest.mark.parametrize("threadsafe_only", [False, True], ids=["both", "threadsafe only"])


def start(loop: asyncio.AbstractEventLoop, function: Trio, *, threadsafe_only: bool = False) -> asyncio.Future[Any]:
    """Start ``function`` in trio, as a guest of ``loop``; the future gets its result or exception."""
    done: asyncio.Future[Any] = loop.create_future()

    def finish(outcome: Outcome[Any]) -> None:
        if not done.cancelled():
            done.set_result(outcome)

    trio.lowlevel.start_guest_run(
        function,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=None if threadsafe_only else loop.call_soon,
        done_callback=finish,
        host_uses_signal_set_wakeup_fd=True,
    )
    return done


async def guest(function: Trio, **options: bool) -> Any:
    """What ``function`` returns or raises in trio, a guest of the running loop."""
    outcome = await start(asyncio.get_running_loop(), function, **options)
    return outcome.unwrap()
