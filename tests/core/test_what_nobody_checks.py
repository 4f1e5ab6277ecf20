"""What asyncio checks in debug mode only: without it, nobody is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

Loop = asyncio.AbstractEventLoop

CALLS: dict[str, Callable[[Any, Any], asyncio.Handle]] = {
    "call_soon": lambda loop, callback: loop.call_soon(callback),
    "call_soon_threadsafe": lambda loop, callback: loop.call_soon_threadsafe(callback),
    "call_later": lambda loop, callback: loop.call_later(1000, callback),
    "call_at": lambda loop, callback: loop.call_at(loop.time() + 1000, callback),
}


async def coroutine() -> None:
    """No callback."""


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("callback", [5, coroutine], ids=["a number", "a coroutine function"])
def test_callbacks_are_checked_in_debug_mode_only(
    loop: Loop, call: Callable[[Any, Any], asyncio.Handle], callback: object
) -> None:
    call(loop, callback).cancel()
    loop.set_debug(True)
    with pytest.raises(TypeError):
        call(loop, callback)


@pytest.mark.parametrize("call", [call for name, call in CALLS.items() if "thread" not in name])
def test_threads_are_checked_in_debug_mode_only(loop: Loop, call: Callable[[Any, Any], asyncio.Handle]) -> None:
    raised: list[BaseException | None] = []

    def attempt() -> None:
        try:
            call(loop, int).cancel()
            raised.append(None)
        except BaseException as exc:
            raised.append(exc)

    async def main() -> None:
        for debug in (False, True):
            loop.set_debug(debug)
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()
        loop.set_debug(False)

    loop.run_until_complete(main())
    assert raised[0] is None
    assert isinstance(raised[1], RuntimeError)
