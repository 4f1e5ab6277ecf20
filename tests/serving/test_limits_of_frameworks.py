"""Limits for frameworks that pass no keyword arguments on: by the server's method, the loop's, and the environment."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from limited_servers import Clients
from recording import until

pytestmark = pytest.mark.edgeloop_only  # asyncio has no such limits

LIMITS: dict[str, Any] = {"max_connections": 1, "overload": "refuse"}


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})


@contextlib.asynccontextmanager
async def aiohttp() -> AsyncIterator[tuple[Any, Any]]:
    web = pytest.importorskip("aiohttp.web", reason="aiohttp is not installed")
    app = web.Application()

    async def answer(request: Any) -> Any:
        return web.Response(text="hello")

    app.add_routes([web.get("/", answer)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site._server, runner.addresses[0]
    await runner.cleanup()


@contextlib.asynccontextmanager
async def uvicorn() -> AsyncIterator[tuple[Any, Any]]:
    package = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    server = package.Server(package.Config(hello, port=0, lifespan="off", log_level="error"))
    serving = asyncio.ensure_future(server.serve())
    await until(lambda: bool(server.started))
    yield server.servers[0], server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    await serving


@contextlib.asynccontextmanager
async def hypercorn() -> AsyncIterator[tuple[Any, Any]]:
    """It keeps its servers to itself."""
    package = pytest.importorskip("hypercorn.asyncio", reason="hypercorn is not installed")
    config = pytest.importorskip("hypercorn.config").Config()
    over = asyncio.Event()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config.bind = [f"fd://{bound.dup().detach()}"]
        config.errorlog = None
        config.graceful_timeout = config.shutdown_timeout = 0.1
        serving = asyncio.ensure_future(package.serve(hello, config, shutdown_trigger=over.wait))
        await until(lambda: bool(bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)))
        address = bound.getsockname()
    yield None, address
    over.set()
    await serving


async def get(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"hello"):
        data = await loop.sock_recv(sock, 1000)
        if not data:
            raise ConnectionResetError
        answer += data
    return answer


async def is_limited(address: Any) -> bool:
    """Return True if one connection is served and a second one is refused."""
    with Clients(address) as clients:
        first = clients.connect()[0]
        assert (await get(first)).startswith(b"HTTP/1.1 200")
        second = clients.connect()[0]
        try:
            await get(second)
        except ConnectionError:
            return (await get(first)).endswith(b"hello")
        return False


Framework = Callable[[], contextlib.AbstractAsyncContextManager[tuple[Any, Any]]]
by_framework = pytest.mark.parametrize("framework", [aiohttp, uvicorn, hypercorn])


@by_framework
async def test_no_framework_limits_by_itself(framework: Framework) -> None:
    """What the others prove is edgeloop's doing."""
    async with framework() as (_, address):
        assert not await is_limited(address)


@pytest.mark.parametrize("framework", [aiohttp, uvicorn])
async def test_the_method_of_the_server(framework: Framework) -> None:
    async with framework() as (server, address):
        server.set_limits(**LIMITS)
        assert await is_limited(address)
        assert server.status().refused >= 1


@by_framework
async def test_the_method_of_the_loop(framework: Framework) -> None:
    loop: Any = asyncio.get_running_loop()
    loop.set_server_limits(**LIMITS)
    async with framework() as (_, address):
        assert await is_limited(address)


@by_framework
async def test_the_environment(framework: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_MAX_CONNECTIONS", "1")
    monkeypatch.setenv("EDGELOOP_OVERLOAD", "refuse")
    async with framework() as (_, address):
        assert await is_limited(address)
