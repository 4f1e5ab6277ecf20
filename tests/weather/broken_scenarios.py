"""Scenarios with a fault of their own: the campaign must find each, or its silence about the others says nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Any

from stage import Stage, StreamWitness


async def _pair(stage: Stage) -> tuple[StreamWitness, socket.socket]:
    with stage.calm():
        one, other = socket.socketpair()
    _, witness = await asyncio.get_running_loop().create_connection(stage.witness(StreamWitness, "witness"), sock=one)
    return witness, other


def broken_leaks(stage: Stage) -> None:
    os.pipe()


def broken_dies(stage: Stage) -> None:
    os.kill(os.getpid(), signal.SIGABRT)  # SIGSEGV is a report of the sanitizer, where one watches


def broken_hangs(stage: Stage) -> None:
    stage.run(asyncio.Event().wait)


def broken_refuses(stage: Stage) -> None:
    raise ConnectionError("in fair weather")


def broken_raises(stage: Stage) -> None:
    raise AttributeError("of nothing that is documented")


def broken_reports(stage: Stage) -> None:
    async def play() -> None:
        asyncio.get_running_loop().call_soon(int, "no number")
        await asyncio.sleep(0)

    stage.run(play)


def broken_is_lost_twice(stage: Stage) -> None:
    async def play() -> None:
        witness, other = await _pair(stage)
        witness.connection_lost(None)
        witness.data_received(b"late")
        other.close()

    stage.run(play)


def broken_is_never_lost(stage: Stage) -> None:
    class Deaf(asyncio.Transport):
        def abort(self) -> None:
            pass

    async def play() -> None:
        StreamWitness(stage, "witness").connection_made(Deaf())

    stage.run(play)


def broken_swallows(stage: Stage) -> None:
    """An exception where nobody can catch it."""

    class Unraisable:
        def __del__(self) -> None:
            raise ValueError

    del Unraisable().__dict__


def broken_leaves_a_loop(stage: Stage) -> None:
    stage.new_loop()


def broken_circles(stage: Stage) -> None:
    """Goes round and round, but only after a call that failed."""

    async def play() -> None:
        while stage.calls.fired()[1] and stage.calls.count() < 20000:
            os.close(os.dup(0))

    stage.run(play)


def broken_loop() -> asyncio.AbstractEventLoop:
    """A loop that runs some callbacks twice, and loses bytes of what is written."""
    loop: Any = asyncio.SelectorEventLoop()
    call_later, make_transport = loop.call_later, loop._make_socket_transport

    def call_twice(delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        if getattr(callback, "__name__", "") == "ran":
            call_later(delay, callback, *args, context=context)
        return call_later(delay, callback, *args, context=context)

    def make_losing_transport(*args: Any, **keywords: Any) -> Any:
        transport = make_transport(*args, **keywords)
        write = transport.write
        transport.write = lambda data: write(bytes(data)[1000:] or data)
        return transport

    loop.call_later, loop._make_socket_transport = call_twice, make_losing_transport
    return loop  # type: ignore[no-any-return]


def raising_loop() -> asyncio.AbstractEventLoop:
    """A loop of which one turn raises."""
    loop: Any = asyncio.SelectorEventLoop()
    run_once, turns = loop._run_once, iter(range(20))

    def broken_turn() -> None:
        run_once()
        if next(turns, 0) == 10:
            raise ArithmeticError("in a turn")

    loop._run_once = broken_turn
    return loop  # type: ignore[no-any-return]


SCENARIOS = (
    broken_leaks,
    broken_dies,
    broken_hangs,
    broken_refuses,
    broken_raises,
    broken_reports,
    broken_is_lost_twice,
    broken_is_never_lost,
    broken_swallows,
    broken_leaves_a_loop,
    broken_circles,
)
