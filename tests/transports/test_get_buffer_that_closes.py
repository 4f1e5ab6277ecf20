"""A BufferedProtocol whose get_buffer ends or pauses its connection: nothing is read into the buffer any more."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from recording import BufferRecorder, attach

pytestmark = (
    pytest.mark.edgeloop_only
)  # asyncio reads into the buffer all the same, and calls buffer_updated after close


class Closing(BufferRecorder):
    way = "close"

    def get_buffer(self, sizehint: int) -> bytearray:
        getattr(self.transport, self.way)()
        return super().get_buffer(sizehint)


@pytest.mark.parametrize("way", ["close", "abort"])
async def test_nothing_is_delivered_after_it(way: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        protocol: Any = Closing()
        protocol.way = way
        await attach(ours, protocol)
        theirs.send(b"x")
        assert await protocol.lost() is None
        assert protocol.calls == ["connection_made", "connection_lost"]
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            theirs.send(b"y")


async def test_what_has_come_is_reset_or_unread_for_the_peer(loop: asyncio.AbstractEventLoop) -> None:
    """The kernel tells the peer that its byte was not read: the transport did not take it."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        protocol = Closing()
        await attach(ours, protocol)
        theirs.send(b"x")
        await protocol.lost()
        with pytest.raises(ConnectionResetError):
            await loop.sock_recv(theirs, 1)
