"""sock_accept and who is cancelled in the moment in which a connection comes."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import pytest


@pytest.mark.edgeloop_only  # asyncio leaves the connection to the collector, with a ResourceWarning
async def test_a_connection_that_came_before_the_cancellation_is_closed(loop: asyncio.AbstractEventLoop) -> None:
    came: list[str] = []

    class Listening(socket.socket):
        def accept(self) -> Any:
            accepted = super().accept()
            came.append("a connection")
            return accepted

    with Listening() as listening, socket.socket() as client:
        listening.setblocking(False)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        accepting = loop.create_task(loop.sock_accept(listening))
        await asyncio.sleep(0)

        def cancel_at_once() -> None:
            # In the queue before the step of the task that would get the connection.
            if came:
                accepting.cancel()
            else:
                loop.call_soon(cancel_at_once)

        cancel_at_once()
        client.connect(listening.getsockname())
        with pytest.raises(asyncio.CancelledError):
            await accepting
        assert came == ["a connection"]
        client.settimeout(30)
        assert client.recv(1) == b""
        gc.collect()
