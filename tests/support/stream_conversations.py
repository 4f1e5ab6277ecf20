"""A server and a client, made with the streams that are given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Serve = Callable[[Any, Any], Awaitable[None] | None]


async def pair(streams: Any, serve: Serve, **options: Any) -> tuple[asyncio.Server, Any, Any]:
    server = await streams.start_server(serve, "127.0.0.1", 0, **options)
    reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
    return server, reader, writer


async def close(server: asyncio.Server, writer: Any) -> None:
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def upper(reader: Any, writer: Any) -> None:
    async for line in reader:
        writer.write(line.upper())
        await writer.drain()
    writer.close()
    await writer.wait_closed()
