"""Web applications that answer "Hello, world!": aiohttp's server, and FastAPI in uvicorn with httptools."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.listening import BACKLOG, background, keep, port_of

TEXT = "Hello, world!"


async def serve_http(size: int, folder: Path) -> int:
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=TEXT)

    application = web.Application()
    application.router.add_get("/", hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    port = port_of(listener)  # before the loop has it: some take the descriptor out of the socket object
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    keep.append(runner)
    return port


async def serve_fastapi(size: int, folder: Path) -> int:
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    application = FastAPI()

    @application.get("/", response_class=PlainTextResponse)
    async def hello() -> str:
        return TEXT

    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    port = port_of(listener)
    settings = uvicorn.Config(application, http="httptools", ws="none", log_level="error", access_log=False)
    server = uvicorn.Server(settings)
    background.append(asyncio.ensure_future(server.serve(sockets=[listener])))
    while not server.started:
        await asyncio.sleep(0.001)
        if background[-1].done():
            background[-1].result()
            break
    return port


SERVICES: dict[str, Callable[[int, Path], Awaitable[int | str]]] = {"http": serve_http, "fastapi": serve_fastapi}
