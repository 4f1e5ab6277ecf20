"""A closed loop calls nothing any more, and keeps nothing that would have been called."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

Loop = asyncio.AbstractEventLoop


class Thing:
    def __call__(self) -> None:
        raise AssertionError("called by a closed loop")


def by_thread(loop: Loop, thing: Thing) -> None:
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(thing,))
    thread.start()
    thread.join()


def new_and_sorted_timers(loop: Loop, thing: Thing) -> None:
    loop.call_later(1000, thing)
    loop.stop()
    loop.run_forever()
    loop.call_later(1000, thing)


WAYS: dict[str, Callable[[Loop, Thing], Any]] = {
    "call_soon": lambda loop, thing: loop.call_soon(thing),
    "call_later": new_and_sorted_timers,
    "call_soon_threadsafe": lambda loop, thing: loop.call_soon_threadsafe(thing),
    "a thread": by_thread,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_was_scheduled_is_dropped(loop: Loop, way: Callable[[Loop, Thing], Any]) -> None:
    thing = Thing()
    way(loop, thing)
    dropped = weakref.ref(thing)
    del thing
    loop.close()
    gc.collect()
    assert dropped() is None


def test_a_callback_that_an_interrupted_turn_left_is_dropped(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    thing = Thing()
    dropped = weakref.ref(thing)

    def interrupt(thing: Thing) -> None:
        raise KeyboardInterrupt

    for ours, _ in pairs:
        loop.add_reader(ours, interrupt, thing)
    for _, theirs in pairs:
        theirs.send(b"x")
    del thing
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    for ours, theirs in pairs:
        loop.remove_reader(ours)
        ours.close()
        theirs.close()
    loop.close()
    gc.collect()
    assert dropped() is None
