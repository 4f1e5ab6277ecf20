"""The aiohttp application behind nginx. It keeps a record of what reached it and how each transfer ended."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

CHUNK = 65_536


def chunks(count: int) -> Iterator[bytes]:
    """``count`` chunks, each different, so that none can be lost or doubled unseen."""
    for number in range(count):
        yield b"%016d" % number * (CHUNK // 16)


def digest(count: int) -> str:
    sha256 = hashlib.sha256()
    for chunk in chunks(count):
        sha256.update(chunk)
    return sha256.hexdigest()


class Application:
    def __init__(self, files: Path | None = None) -> None:
        #: The connections that requests came on, in the order of the first request.
        self.connections: list[asyncio.BaseTransport] = []
        #: Chunks that the running download has written.
        self.written = 0
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        #: How uploads, downloads and WebSockets ended: what the handler saw.
        self.ends: asyncio.Queue[Any] = asyncio.Queue()
        self.web = web.Application(client_max_size=1 << 40)
        self.web.add_routes(
            [
                web.post("/echo", self.echo),
                web.post("/upload", self.upload),
                web.get("/download/{count}", self.download),
                web.get("/two_halves", self.two_halves),
                web.get("/websocket", self.websocket),
            ]
        )
        if files is not None:
            self.web.add_routes([web.static("/files", files)])
        self.web.middlewares.append(self.remember_connection)

    @web.middleware
    async def remember_connection(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.transport is not None and request.transport not in self.connections:
            self.connections.append(request.transport)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def echo(self, request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def upload(self, request: web.Request) -> web.Response:
        sha256, size = hashlib.sha256(), 0
        try:
            async for chunk in request.content.iter_any():
                sha256.update(chunk)
                size += len(chunk)
                self.started.set()
        except BaseException as error:
            self.ends.put_nowait(error)
            raise
        self.ends.put_nowait(None)
        return web.json_response({"size": size, "sha256": sha256.hexdigest()})

    async def download(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        try:
            await response.prepare(request)
            for chunk in chunks(int(request.match_info["count"])):
                await response.write(chunk)
                self.written += 1
                self.started.set()
            await response.write_eof()
        except BaseException as error:
            self.ends.put_nowait(error)
            raise
        self.ends.put_nowait(None)
        return response

    async def two_halves(self, request: web.Request) -> web.StreamResponse:
        """Sends the first half at once, the second when the test says so."""
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first ")
        self.started.set()
        await self.go_on.wait()
        await response.write(b"second")
        await response.write_eof()
        return response

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Echoes what comes; the text ``close`` closes with code 4001."""
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.data == "close":
                await socket.close(code=4001, message=b"as you wish")
            else:
                await socket.send_str(message.data)
        self.ends.put_nowait(socket.close_code)
        return socket


@asynccontextmanager
async def serving(
    application: Application, *, path: str | None = None, port: int = 0, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serves the application; the address as nginx writes it: a free port of 127.0.0.1, or the Unix socket ``path``."""
    runner = web.AppRunner(application.web, shutdown_timeout=5)
    await runner.setup()
    try:
        if path is not None:
            await web.UnixSite(runner, path).start()
            yield f"unix:{path}"
        else:
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=ssl_context).start()
            yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
