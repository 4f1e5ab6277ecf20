"""A connection is cancelled at each moment of its beginning: nothing of it stays in the epoll set.

Found by tests/simulation: another process may have the same open file, and then close(2) takes nothing out (epoll(7)).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from recording import turn

Loop = asyncio.AbstractEventLoop
TURNS = 8  # more than a connection takes


def registered(loop: Any) -> list[str]:
    """What the epoll set has, by number: /proc/PID/fdinfo of epoll, proc(5)."""
    return sorted(re.findall(r"tfd: *(\d+)", Path(f"/proc/self/fdinfo/{loop._selector.fileno()}").read_text()))


@contextlib.contextmanager
def forked() -> Any:
    """Another process, which has all that is open now until the block ends."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def connect_tcp(loop: Loop, address: Any) -> Coroutine[Any, Any, Any]:
    return loop.create_connection(asyncio.Protocol, *address)


def connect_racing(loop: Loop, address: Any) -> Coroutine[Any, Any, Any]:
    return loop.create_connection(asyncio.Protocol, *address, happy_eyeballs_delay=10)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the child only waits
@pytest.mark.edgeloop_only  # it looks into the epoll set
@pytest.mark.parametrize("connect", [connect_tcp, connect_racing])
def test_nothing_of_a_cancelled_connection_stays_registered(
    loop: Loop, connect: Callable[[Loop, Any], Coroutine[Any, Any, Any]]
) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    before = registered(loop)
    began = 0
    for turns in range(1, TURNS):
        task = loop.create_task(connect(loop, listening.getsockname()))
        while registered(loop) == before and not task.done():
            turn(loop)  # the resolver's thread
        began += not task.done()
        with forked():
            turn(loop, turns - 1)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                transport, _ = loop.run_until_complete(task)
                transport.abort()
            turn(loop, 5)
            assert registered(loop) == before
    assert began
    listening.close()
