"""What a loop has duplicated is closed with it, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from descriptors import open_descriptors
from recording import turn
from sockets import Pair


@pytest.mark.edgeloop_only  # asyncio duplicates nothing
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the transport, which nobody closes any more
def test_a_loop_closes_its_duplicate_of_a_closing_connection(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], pair: Pair
) -> None:
    """A call waits on a socket while its transport has still to send: each has a number of its own in the epoll set."""
    before = open_descriptors()
    loop = loop_factory()
    ours, _ = pair
    transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=ours))
    transport.write(bytes(1 << 22))
    transport.close()
    number = ours.fileno()

    async def wait() -> None:
        await loop.sock_recv(ours, 1)

    waiting = loop.create_task(wait())
    turn(loop, 2)
    assert len([name for name in open_descriptors().values() if name == open_descriptors()[number]]) == 2
    waiting.cancel()
    transport.abort()
    loop.call_soon(loop.stop)
    loop.close()
    assert {fd: name for fd, name in open_descriptors().items() if fd != number} == {
        fd: name for fd, name in before.items() if fd != number
    }
