"""How much of a turn a file has that is sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

SIZE = 4 << 20
PIECE = 49152  # sendfiles.MAX_AT_ONCE

Send = Callable[[socket.socket, BinaryIO], Awaitable[int]]


async def by_transport(sock: socket.socket, file: BinaryIO) -> int:
    loop = asyncio.get_running_loop()
    transport: Any
    transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=sock)
    try:
        return await loop.sendfile(transport, file, fallback=False)
    finally:
        transport.close()


async def by_socket(sock: socket.socket, file: BinaryIO) -> int:
    return await asyncio.get_running_loop().sock_sendfile(sock, file, fallback=False)


@pytest.mark.edgeloop_only  # asyncio sends as much in a turn as the socket takes
@pytest.mark.parametrize("send", [by_transport, by_socket])
async def test_others_have_their_turn_between_two_pieces_of_a_file(tmp_path: Path, send: Send) -> None:
    """However fast the peer reads, and however much its socket takes (rule 3)."""
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    ours, peer = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SIZE)  # the kernel gives less: net.core.wmem_max
    for sock in (ours, peer):
        sock.setblocking(False)
    with ours, peer, path.open("rb") as file:
        sending = asyncio.ensure_future(send(ours, file))
        turns = received = 0
        while received < SIZE:
            await asyncio.sleep(0)
            turns += 1
            try:
                while data := peer.recv(SIZE):
                    received += len(data)
            except BlockingIOError:
                pass
            assert received <= (turns + 1) * PIECE
        assert await sending == SIZE
