"""What comes in the middle of a send: an interruption, an end. A given socket is asked for its number there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
from recording import Recorder, record_errors, turns

pytestmark = pytest.mark.edgeloop_only  # asyncio's loop asks for the number once


class Asked(socket.socket):
    """Calls ``then``, once, when it is asked for its number."""

    then: Callable[[], object] | None = None

    def fileno(self) -> int:
        then, self.then = self.then, None
        if then is not None:
            then()
        return super().fileno()


async def connect(loop: asyncio.AbstractEventLoop) -> tuple[Recorder, Asked, socket.socket]:
    ours, theirs = socket.socketpair()
    asked = Asked(fileno=ours.detach())
    _, protocol = await loop.create_connection(Recorder, sock=asked)
    return protocol, asked, theirs


def test_what_an_interruption_held_up_leaves_when_the_loop_runs_again(loop: asyncio.AbstractEventLoop) -> None:
    protocol, asked, peer = loop.run_until_complete(connect(loop))

    def interrupt() -> None:
        raise KeyboardInterrupt

    def write() -> None:
        asked.then = interrupt
        protocol.transport.write(b"all of it")

    with peer:
        peer.setblocking(False)
        loop.call_soon(write)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        loop.run_until_complete(turns(3))
        assert peer.recv(100) == b"all of it"
        protocol.transport.abort()
        loop.run_until_complete(turns(3))


async def test_an_error_after_an_abort_is_nobodys(loop: asyncio.AbstractEventLoop) -> None:
    errors = record_errors(loop)
    protocol, asked, peer = await connect(loop)

    def abort() -> None:
        protocol.transport.abort()
        raise ValueError("there was nothing to send any more")

    with peer:
        asked.then = abort
        protocol.transport.write(b"lost")
        await turns(3)
        assert protocol.calls == ["connection_made", "connection_lost"]
        assert errors == []
