"""A protocol for the pipe tests, and pipes with the loop at one end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from recording import Recorder


class PipeRecorder(Recorder):
    """A Recorder on a transport of one direction; ``parts`` keeps what each data_received was given."""

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.note("connection_made")

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        super().data_received(data)


@contextlib.asynccontextmanager
async def read_pipe(flags: int = 0) -> AsyncIterator[tuple[Any, PipeRecorder, int]]:
    """A pipe(2): transport and protocol at the reading end, the descriptor of the writing end."""
    read, write = os.pipe2(flags)
    try:
        transport, protocol = await asyncio.get_running_loop().connect_read_pipe(PipeRecorder, open(read, "rb", 0))
        try:
            yield transport, protocol, write
        finally:
            transport.close()
            await protocol.lost()
    finally:
        with contextlib.suppress(OSError):
            os.close(write)


@contextlib.asynccontextmanager
async def write_pipe(flags: int = 0) -> AsyncIterator[tuple[Any, PipeRecorder, int]]:
    """A pipe(2): transport and protocol at the writing end, the non-blocking descriptor of the reading end."""
    read, write = os.pipe2(flags)
    os.set_blocking(read, False)
    try:
        transport, protocol = await asyncio.get_running_loop().connect_write_pipe(PipeRecorder, open(write, "wb", 0))
        try:
            yield transport, protocol, read
        finally:
            if "connection_lost" not in protocol.calls:
                transport.abort()
            await protocol.lost()
    finally:
        with contextlib.suppress(OSError):
            os.close(read)


def read_all(fd: int) -> bytes:
    """What is in a pipe now, from a non-blocking descriptor."""
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := os.read(fd, 1 << 20):
            parts.append(part)
    return b"".join(parts)
