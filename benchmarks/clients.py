"""Clients, in CPU microseconds of the client's process for each request. The server is echo.c, which never sleeps.

askhttp     aiohttp's client, 64 requests at a time, each over a connection that is kept
askstreams  asyncio.open_connection, 1 KiB there and back on 64 connections
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

CLIENTS = 64
SIZE = 1024


async def cpu_us(seconds: float, ask: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """Repeat ``ask`` in one task; a warm-up of a fifth of ``seconds`` comes first."""
    requests = 0

    async def repeat(end: float) -> None:
        nonlocal requests
        while time.monotonic() < end:
            await ask()
            requests += 1

    await asyncio.gather(*(repeat(time.monotonic() + seconds / 5) for _ in range(CLIENTS)))
    requests = 0
    begun, before = time.monotonic(), time.process_time_ns()
    await asyncio.gather(*(repeat(begun + seconds) for _ in range(CLIENTS)))
    used, taken = time.process_time_ns() - before, time.monotonic() - begun
    return {"cpu_us": used / requests / 1000, "rate": requests / taken, "busy": used / taken / 1e7}


async def ask_http(seconds: float, port: int) -> dict[str, float]:
    import aiohttp

    url = f"http://127.0.0.1:{port}/"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CLIENTS)) as session:

        async def ask() -> None:
            async with session.get(url) as response:
                if await response.read() != b"Hello, world!":
                    raise RuntimeError("a reply with another body")

        return await cpu_us(seconds, ask)


async def ask_streams(seconds: float, port: int) -> dict[str, float]:
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS)]
    message = bytes(number % 251 for number in range(SIZE))

    async def ask() -> None:
        reader, writer = connection = idle.pop()
        writer.write(message)
        await writer.drain()
        if await reader.readexactly(SIZE) != message:
            raise RuntimeError("a reply with other bytes")
        idle.append(connection)

    found = await cpu_us(seconds, ask)
    for _, writer in idle:
        writer.close()
    return found


#: With the port that the server listens on.
SUBJECTS: dict[str, Callable[[float, int], Coroutine[Any, Any, dict[str, float]]]] = {
    "askhttp": ask_http,
    "askstreams": ask_streams,
}
