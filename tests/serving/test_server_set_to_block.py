"""A listening socket that somebody has set to block."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from recording import Recorder


@pytest.mark.edgeloop_only  # asyncio's loop blocks in accept(2)
async def test_a_listener_that_was_set_to_block_holds_nobody_up() -> None:
    """The accept that follows the last connection would wait in the kernel for ever, and keep the GIL from all others."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, int)  # one thread alone is not worth a system call for each connection
    listening = socket.create_server(("127.0.0.1", 0))
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await loop.create_server(factory, sock=listening)
    os.set_blocking(listening.fileno(), True)
    address = listening.getsockname()
    for count in range(1, 4):
        with socket.create_connection(address) as client:
            async with asyncio.timeout(10):
                while len(made) < count:
                    await asyncio.sleep(0.001)
            client.sendall(b"hello")
            async with asyncio.timeout(10):
                while bytes(made[-1].received) != b"hello":
                    await asyncio.sleep(0.001)
    server.close()
    await asyncio.sleep(0.01)
