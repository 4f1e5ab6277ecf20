"""How many system calls the writes of a callback and of a turn take, once a connection has earned to have them gathered.

A preloaded library counts them. strace would make each call last as long as what a connection is trusted for.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from counted_calls import counted_calls
from kernel_truth import measured, needs_gcc

pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather, needs_gcc]

PROGRAM = """
    import asyncio, socket, sys
    import edgeloop

    async def main(rounds):
        loop = asyncio.get_running_loop()
        listening = socket.create_server(("127.0.0.1", 0))
        transport, _ = await loop.create_connection(asyncio.Protocol, *listening.getsockname())
        theirs, _ = listening.accept()
        listening.close()
        theirs.setblocking(False)
        for _ in range(rounds):
            {round}
        transport.abort()
        theirs.close()

    edgeloop.run(main(int(sys.argv[1])))
"""
HEADER_AND_BODY = "transport.write(b'header'); transport.write(b'body'); await asyncio.sleep(0)"
TASKS = """
            for _ in range(100):
                loop.call_soon(transport.write, b'.')
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            theirs.settimeout(10)  # what was sent comes a moment later where the kernel has much else to do
            theirs.recv(65536)
"""


def sends(one_round: str, rounds: int, directory: Path, given: bool = False) -> int:
    script = PROGRAM.format(round=one_round.strip())
    if given:
        script = script.replace("asyncio.Protocol, *listening.getsockname()", "asyncio.Protocol, sock=connected")
        script = script.replace(
            "transport, _ =", "connected = socket.create_connection(listening.getsockname())\n        transport, _ ="
        )
    few = counted_calls(script, "20", directory=directory)
    many = counted_calls(script, str(20 + rounds), directory=directory)
    many.subtract(few)
    assert many["epoll_ctl"] == 0
    return sum(many[name] for name in ("send", "sendto", "sendmsg"))


@measured
def test_header_and_body_are_one_send(tmp_path: Path) -> None:
    """A few more where the machine had other things to do in between."""
    assert sends(HEADER_AND_BODY, 200, tmp_path) <= 220


@pytest.mark.skipif(
    sys.implementation.name == "pypy",
    reason="PyPy compiles for milliseconds in some callback: then each write leaves at once for a while, rule 5",
)
@measured
def test_a_hundred_callbacks_that_write_take_a_few_sends(tmp_path: Path) -> None:
    """asyncio makes a hundred. Not one: none waits for long."""
    assert sends(TASKS, 50, tmp_path) <= 50 * 10


def test_a_socket_that_somebody_else_has_is_sent_to_at_once(tmp_path: Path) -> None:
    """Its owner may shut it down, or write to it, and we would not see that."""
    assert sends(HEADER_AND_BODY, 50, tmp_path, given=True) == 100
