"""What the tests of websockets share: a coroutine run on the loop under test, servers to talk to, certificates."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trustme
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]], debug: bool = False) -> T:
    """The result of ``main()``, on the default loop; whatever went wrong behind its back is an error."""
    complaints: list[dict[str, Any]] = []

    async def on_the_loop_under_test() -> T:
        loop = asyncio.get_running_loop()
        assert type(loop).__module__.partition(".")[0] == os.environ["EDGELOOP_COMPAT_LOOP"]
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with asyncio.timeout(60):
            return await main()

    result = asyncio.run(on_the_loop_under_test(), debug=debug)
    assert complaints == []
    return result


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


def port_of(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


@asynccontextmanager
async def serving(
    handler: Callable[[ServerConnection], Any] = echo, **options: Any
) -> AsyncIterator[tuple[Server, str]]:
    """A server on loopback, and its address."""
    scheme = "wss" if options.get("ssl") else "ws"
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield server, f"{scheme}://localhost:{port_of(server)}/"


@asynccontextmanager
async def connected(
    handler: Callable[[ServerConnection], Any] = echo, client: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[ClientConnection]:
    """A client's connection to a server of its own; ``options`` are the server's, ``client`` the client's."""
    async with serving(handler, **options) as (_, uri), connect(uri, **(client or {})) as websocket:
        yield websocket


class Certificates:
    """TLS contexts of a server called localhost and of a client that trusts it."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.server)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(self.client)
