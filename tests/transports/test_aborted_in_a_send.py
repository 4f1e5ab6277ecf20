"""A transport that is aborted while it sends: by the socket that a program has given it, whose methods may do anything."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from recording import Recorder, Run, turns


class Aborting(socket.socket):
    """Has its transport aborted once something was sent. The compiled edition calls none of these methods."""

    transport: Any = None

    def _abort(self, count: int) -> int:
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()
        return count

    def send(self, *arguments: Any) -> int:
        return self._abort(super().send(*arguments))

    def sendmsg(self, *arguments: Any) -> int:
        return self._abort(super().sendmsg(*arguments))


@pytest.mark.parametrize("chunks", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 1 << 22], ids=["sent", "left"])
def test_nothing_waits_any_more_in_a_transport_that_is_aborted_in_a_send(run: Run, size: int, chunks: int) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            sock = Aborting(fileno=ours.detach())
            sock.setblocking(False)
            transport, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=sock)
            sock.transport = transport
            transport.writelines([bytes(size)] * chunks)
            if size == 1:  # asyncio keeps what is left for a moment
                assert transport.get_write_buffer_size() == 0
            await turns(2)
            transport.abort()
            assert transport.get_write_buffer_size() == 0
            assert await protocol.lost() is None
            assert protocol.calls.count("connection_lost") == 1
            assert transport.get_write_buffer_size() == 0

    run(main())
