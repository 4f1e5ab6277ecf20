"""Services whose handlers compute. A request is 64 bytes; the first eight say for how many microseconds.

work                                 computes, then sends the request back
tokens, tokenstreams, tokenownstreams, tokentls
                                     four times: sends a piece of 64 bytes, then computes; a Protocol's write, streams
                                     that drain, the loop's own streams, and the Protocol over TLS
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from benchmarks.listening import (
    BACKLOG,
    keep,
    listen,
    listen_on_path,
    own_start_server,
    port_of,
    server_context,
)

MESSAGE = 64
NUMBER = 8
PIECES = [bytes([number]) * MESSAGE for number in range(4)]


def compute(request: bytes) -> None:
    """For as long as the request says, by the clock."""
    microseconds = int.from_bytes(request[:NUMBER], "little")
    if microseconds:
        end = time.perf_counter_ns() + 1000 * microseconds
        while time.perf_counter_ns() < end:
            pass


class Answering(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: not every loop's transport passes for asyncio.Transport in isinstance.
        self.transport = cast(asyncio.Transport, transport)


class Working(Answering):
    def data_received(self, data: bytes) -> None:
        compute(data)
        self.transport.write(data)


class Tokens(Answering):
    def data_received(self, data: bytes) -> None:
        for piece in PIECES:
            self.transport.write(piece)
            compute(data)


async def stream_tokens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            request = await reader.readexactly(MESSAGE)
            for piece in PIECES:
                writer.write(piece)
                await writer.drain()
                compute(request)
    except (ConnectionError, asyncio.IncompleteReadError):  # the load leaves
        pass
    finally:
        writer.close()


async def serve_work(size: int, folder: Path) -> int:
    return await listen(Working)


async def serve_tokens(size: int, folder: Path) -> int:
    return await listen(Tokens)


async def serve_token_tls(size: int, folder: Path) -> int:
    return await listen(Tokens, server_context(folder))


async def serve_token_unix(size: int, folder: Path) -> str:
    return await listen_on_path(Tokens, folder)


async def serve_token_streams(size: int, folder: Path) -> int:
    return await listen_with_tokens(asyncio.start_server)


async def serve_token_own_streams(size: int, folder: Path) -> int:
    return await listen_with_tokens(own_start_server())


async def listen_with_tokens(start_server: Callable[..., Awaitable[asyncio.Server]]) -> int:
    server = await start_server(stream_tokens, "127.0.0.1", 0, backlog=BACKLOG)
    keep.append(server)
    return port_of(server.sockets[0])


SERVICES: dict[str, Callable[[int, Path], Awaitable[int | str]]] = {
    "work": serve_work,
    "tokens": serve_tokens,
    "tokenstreams": serve_token_streams,
    "tokenownstreams": serve_token_own_streams,
    "tokenunix": serve_token_unix,
    "tokentls": serve_token_tls,
}
