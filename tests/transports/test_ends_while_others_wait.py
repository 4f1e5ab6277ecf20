"""What waits for a stream transport when it ends: a file to be sent, a name to be asked."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from recording import Recorder, Run, turns
from sockets import Pair


@pytest.mark.parametrize("fallback", [False, True])
def test_sendfile_ends_with_a_connection_that_is_aborted_before_its_turn(
    run: Run, pair: Pair, tmp_path: Path, fallback: bool
) -> None:
    """What was written before has not left yet."""
    path = tmp_path / "file"
    path.write_bytes(b"content")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, _ = pair
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        transport.write(bytes(1 << 22))
        assert transport.get_write_buffer_size()
        with path.open("rb") as file:
            sending = loop.create_task(loop.sendfile(transport, file, fallback=fallback))
            await turns(3)
            transport.abort()
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(sending, 30)
        await protocol.lost()

    run(main())


class Nameless(socket.socket):
    """Can't say where it is bound."""

    def getsockname(self) -> Any:
        raise OSError("unknown")


@pytest.mark.edgeloop_only  # asyncio says None then
def test_a_name_that_nobody_can_say_any_more_is_the_default(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            sock = Nameless(fileno=ours.detach())
            sock.setblocking(False)
            transport, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=sock)
            sock.close()
            assert transport.get_extra_info("sockname", "nobody knows") == "nobody knows"
            assert transport.get_extra_info("something else", "default") == "default"
            transport.abort()
            await protocol.lost()

    run(main())
