"""What every service of the server process needs: listening, and holding on to what was made."""

from __future__ import annotations

import asyncio
import importlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

BACKLOG = 4096
#: In the folder of the C programs: a key and a certificate for it. processes.py makes it.
CERTIFICATE = "certificate.pem"

#: Servers that nothing else refers to.
keep: list[object] = []
#: Tasks that have no end; the server ends with the first of them that fails.
background: list[asyncio.Future[None]] = []


async def listen(protocol: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext | None = None) -> int:
    """Serve on a free port of 127.0.0.1, which is returned."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=BACKLOG, ssl=context)
    keep.append(server)
    return port_of(server.sockets[0])


async def listen_on_path(protocol: Callable[[], asyncio.BaseProtocol], folder: Path) -> str:
    """Serve on a Unix socket in the folder. Its path is returned."""
    path = str(folder / "socket")
    keep.append(await asyncio.get_running_loop().create_unix_server(protocol, path, backlog=BACKLOG))
    return path


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / CERTIFICATE)
    return context


def own_start_server() -> Callable[..., Awaitable[asyncio.Server]]:
    """``start_server`` of the running loop's package, asyncio's where that has none."""
    package = importlib.import_module(type(asyncio.get_running_loop()).__module__.partition(".")[0])
    found: Callable[..., Awaitable[asyncio.Server]] = getattr(package, "start_server", asyncio.start_server)
    return found
