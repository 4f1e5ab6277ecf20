"""What kernel/interpreter.pxd knows of the interpreter's inside: that it holds, and that it can be done without.

Each test notices what would be seen if the fact it is named for changed in a new Python.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import pytest
from recording import turn
from repository import ROOT, TESTS

import edgeloop

pytestmark = pytest.mark.edgeloop_only

PLAIN = os.environ.get("EDGELOOP_PLAIN", "0") not in ("", "0")
knowing = pytest.mark.skipif(
    edgeloop.EDITION == "pure" or PLAIN, reason="the pure edition and the plain way know nothing of the inside"
)


def ignore(*args: object) -> None:
    pass


@knowing
def test_a_handle_is_used_again_only_if_nobody_has_it(loop: asyncio.AbstractEventLoop) -> None:
    first = id(loop.call_soon(ignore))
    turn(loop)
    again = loop.call_soon(ignore)
    assert id(again) == first
    turn(loop)
    assert id(loop.call_soon(ignore)) != first  # we have it
    del again
    turn(loop)
    seen = weakref.ref(loop.call_soon(ignore))
    turn(loop)
    assert seen() is None  # a weak reference doesn't become another's


@knowing
def test_a_second_flood_of_callbacks_makes_no_new_handles(loop: asyncio.AbstractEventLoop) -> None:
    """Objects that are made by thousands make the interpreter collect garbage, for milliseconds in which nobody has a turn."""
    context = contextvars.copy_context()

    def flood() -> None:
        for _ in range(4000):
            loop.call_soon(ignore, context=context)

    flood()
    turn(loop)
    gc.collect()
    gc.disable()
    try:
        before = gc.get_count()[0]
        flood()
        assert gc.get_count()[0] - before < 100
    finally:
        gc.enable()
    turn(loop)


def test_each_change_of_a_class_is_noticed() -> None:
    """Also more of them than the interpreter has versions for one class."""

    class Tools(edgeloop.EventLoop):
        pass

    class Mine(Tools):
        pass

    def says(value: float) -> Any:
        return lambda self: value

    mine = Mine()
    try:
        for number in range(1500):
            Tools.time = says(number)  # type: ignore[method-assign]
            assert mine.call_later(0, ignore).when() == number
            Mine.time = says(-number)  # type: ignore[method-assign]
            assert mine.call_later(0, ignore).when() == -number
            del Mine.time
            assert mine.call_later(0, ignore).when() == number
            del Tools.time
            before = time.monotonic()
            assert before <= mine.call_later(0, ignore).when() <= time.monotonic()
    finally:
        mine.close()


@knowing
def test_a_transports_dict_is_made_on_demand(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        transport: Any = writer.transport
        assert not any(type(held) is dict for held in gc.get_referents(transport) if held == {})
        transport.mark = 1
        assert vars(transport) == {"mark": 1}
        await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


@pytest.mark.counts_references
def test_a_batch_to_which_somebody_has_added_is_emptied(loop: asyncio.AbstractEventLoop) -> None:
    """Through a reference to the list of what is ready, which is no longer the loop's by then."""
    ended: list[int] = []

    class Last:
        def __init__(self, ready: Any) -> None:
            self.ready = ready

        def __del__(self) -> None:
            ended.append(len(self.ready))

    ready: Any = loop._ready  # type: ignore[attr-defined]
    for _ in range(2):
        loop.call_soon(lambda: ready.append(Last(ready)))
    turn(loop)
    called: list[int] = []
    for number in range(5):
        loop.call_soon(called.append, number)
    turn(loop)
    assert called == list(range(5))
    assert len(ended) == 2


def test_a_busy_loop_lets_other_threads_run(loop: asyncio.AbstractEventLoop) -> None:
    """It knows that there are some: each wait lets the interpreter go, long before the switch interval is over."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    counted = [0]

    def count() -> None:
        for _ in range(20):
            counted[0] += 1
            time.sleep(0)

    async def main() -> None:
        thread = threading.Thread(target=count)
        thread.start()
        while counted[0] < 20:
            await asyncio.sleep(0)
        thread.join()

    try:
        loop.run_until_complete(main())
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.fair_weather  # runs such tests
def test_the_plain_way_passes_the_same_tests() -> None:
    """A part of the suite in a process of its own, with EDGELOOP_PLAIN=1."""
    if PLAIN:
        pytest.skip("this is that process")
    if edgeloop.EDITION == "pure":
        pytest.skip("the pure edition knows nothing of the inside")
    names = (
        "kernel/test_interpreter_inside.py",
        "core/test_reentry_of_handles.py",
        "core/test_order_of_callbacks.py",
        "loop/test_replaced_methods.py",
        "loop/test_loop_run.py",
        "loop/test_loop_timers.py",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(TESTS / name for name in names)],
        env={**os.environ, "EDGELOOP_PLAIN": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
