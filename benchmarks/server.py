"""The server process: ``python -m benchmarks.server SERVICE LOOP SIZE``.

Listens on a free port of 127.0.0.1, prints the port, and serves until it is killed or its parent is gone. The services
are those of echo.c, each through one of asyncio's ways to write a server:

    echo, buffered, streams, sock    send back what comes in
    ownstreams                       the same, with the streams that come with the loop where it has its own
    sink                             one byte for each SIZE bytes received
    fetch                            SIZE bytes for each 8 bytes received
    http                             an aiohttp application that answers "Hello, world!"
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import cast

from benchmarks.loops import LOOPS, UnavailableError

READ_SIZE = 64 * 1024
BACKLOG = 4096
FETCH_REQUEST = 8
PR_SET_PDEATHSIG = 1


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: not every loop's transport passes for asyncio.Transport in isinstance.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = memoryview(bytearray(READ_SIZE))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        # A copy: the transport may keep what it cannot send at once, and the buffer is filled again.
        self.transport.write(bytes(self.buffer[:nbytes]))


class Sink(Echo):
    """Acknowledges each whole message with one byte."""

    size = 1
    received = 0

    def data_received(self, data: bytes) -> None:
        messages, self.received = divmod(self.received + len(data), self.size)
        if messages:
            self.transport.write(bytes(messages))


class Fetch(Echo):
    """Sends the document once for each request."""

    document = b""
    received = 0

    def data_received(self, data: bytes) -> None:
        requests, self.received = divmod(self.received + len(data), FETCH_REQUEST)
        for _ in range(requests):
            self.transport.write(self.document)


async def listen(protocol: Callable[[], asyncio.BaseProtocol]) -> int:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=BACKLOG)
    keep.append(server)
    return port_of(server.sockets[0])


async def serve_echo(size: int) -> int:
    return await listen(Echo)


async def serve_buffered(size: int) -> int:
    return await listen(BufferedEcho)


async def serve_sink(size: int) -> int:
    Sink.size = size
    return await listen(Sink)


async def serve_fetch(size: int) -> int:
    Fetch.document = bytes(position % 251 for position in range(size))
    return await listen(Fetch)


async def serve_streams(size: int) -> int:
    return await listen_with_streams(asyncio.start_server)


async def serve_own_streams(size: int) -> int:
    package = importlib.import_module(type(asyncio.get_running_loop()).__module__.partition(".")[0])
    return await listen_with_streams(getattr(package, "start_server", asyncio.start_server))


async def listen_with_streams(start_server: Callable[..., Awaitable[asyncio.Server]]) -> int:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(READ_SIZE):
                writer.write(data)
                await writer.drain()
        except ConnectionError:  # the load leaves in the middle of a conversation
            pass
        finally:
            writer.close()

    server = await start_server(echo, "127.0.0.1", 0, backlog=BACKLOG)
    keep.append(server)
    return port_of(server.sockets[0])


async def serve_sock(size: int) -> int:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener.setblocking(False)
    conversations: set[asyncio.Task[None]] = set()

    async def echo(connection: socket.socket) -> None:
        with connection:
            try:
                while data := await loop.sock_recv(connection, READ_SIZE):
                    await loop.sock_sendall(connection, data)
            except ConnectionError:
                pass

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(listener)
            # The transports of every loop set it; without it, this would measure Nagle's algorithm.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(echo(connection))
            conversations.add(task)
            task.add_done_callback(conversations.discard)

    background.append(loop.create_task(accept()))
    return port_of(listener)


async def serve_http(size: int) -> int:
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="Hello, world!")

    application = web.Application()
    application.router.add_get("/", hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    port = port_of(listener)  # before the loop has it: some take the descriptor out of the socket object
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    keep.append(runner)
    return port


SERVICES: dict[str, Callable[[int], Awaitable[int]]] = {
    "echo": serve_echo,
    "buffered": serve_buffered,
    "streams": serve_streams,
    "ownstreams": serve_own_streams,
    "sock": serve_sock,
    "sink": serve_sink,
    "fetch": serve_fetch,
    "http": serve_http,
}

#: Servers that nothing else refers to.
keep: list[object] = []
#: Tasks that have no end; the server ends with the first of them that fails.
background: list[asyncio.Future[None]] = []


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def die_with_parent() -> None:
    """SIGKILL for this process when the one that started it ends, however it ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


async def serve(service: str, size: int) -> None:
    print(await SERVICES[service](size), flush=True)
    await asyncio.gather(*background, asyncio.get_running_loop().create_future())


def main() -> None:
    die_with_parent()
    service, name, size = sys.argv[1:]
    try:
        factory = LOOPS[name].factory()
    except UnavailableError as reason:
        sys.exit(f"{name}: {reason}")
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(service, int(size)))


if __name__ == "__main__":
    main()
