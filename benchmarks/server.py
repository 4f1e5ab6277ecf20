"""The server process: ``python -m benchmarks.server SERVICE LOOP SIZE FOLDER``.

Listens on a free port of 127.0.0.1, prints the port, and serves until it is killed or its parent is gone. FOLDER has
certificate.pem, and room for a Unix socket. The services are those of echo.c, each through one of asyncio's ways to
write a server:

    echo, buffered, streams, sock    send back what comes in
    ownstreams                       the same, with the streams that come with the loop where it has its own
    twowrites                        the same in two writes, the first of a header's size
    unix                             the same on a Unix socket, whose path is printed
    tls, tlsstreams, tlsownstreams   the same over TLS
    waiting                          the same, with 10,000 timers of which none is due
    sink                             one byte for each SIZE bytes received
    fetch                            SIZE bytes for each 8 bytes received
    datagrams, count                 those of echo_datagrams.c, in datagrams.py
    http, fastapi                    web applications that answer "Hello, world!", in web.py
    work, token...                   those of computing.py
    ...flood                         those of flooded.py, which print two ports
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from benchmarks import computing, datagrams, flooded, web
from benchmarks.listening import (
    BACKLOG,
    background,
    keep,
    listen,
    listen_on_path,
    own_start_server,
    port_of,
    server_context,
)
from benchmarks.loops import factory_or_exit

READ_SIZE = 64 * 1024
FETCH_REQUEST = 8
HEADER = 64
WAITING = 10_000
FAR_AWAY = 3600.0
PR_SET_PDEATHSIG = 1


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: not every loop's transport passes for asyncio.Transport in isinstance.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class TwoWrites(Echo):
    """As most protocols answer: a header, then what it announces."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(data[:HEADER])
        self.transport.write(data[HEADER:])


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


async def serve_echo(size: int, folder: Path) -> int:
    return await listen(Echo)


async def serve_two_writes(size: int, folder: Path) -> int:
    return await listen(TwoWrites)


async def serve_buffered(size: int, folder: Path) -> int:
    return await listen(BufferedEcho)


async def serve_tls(size: int, folder: Path) -> int:
    return await listen(Echo, server_context(folder))


async def serve_unix(size: int, folder: Path) -> str:
    return await listen_on_path(Echo, folder)


async def serve_waiting(size: int, folder: Path) -> int:
    call_later = asyncio.get_running_loop().call_later
    keep.append([call_later(FAR_AWAY + number, int) for number in range(WAITING)])
    return await listen(Echo)


async def serve_sink(size: int, folder: Path) -> int:
    Sink.size = size
    return await listen(Sink)


async def serve_fetch(size: int, folder: Path) -> int:
    Fetch.document = bytes(position % 251 for position in range(size))
    return await listen(Fetch)


async def serve_streams(size: int, folder: Path) -> int:
    return await listen_with_streams(asyncio.start_server)


async def serve_own_streams(size: int, folder: Path) -> int:
    return await listen_with_streams(own_start_server())


async def serve_tls_streams(size: int, folder: Path) -> int:
    return await listen_with_streams(asyncio.start_server, server_context(folder))


async def serve_tls_own_streams(size: int, folder: Path) -> int:
    return await listen_with_streams(own_start_server(), server_context(folder))


async def listen_with_streams(
    start_server: Callable[..., Awaitable[asyncio.Server]], context: ssl.SSLContext | None = None
) -> int:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(READ_SIZE):
                writer.write(data)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):  # the load leaves in the middle of a conversation
            pass
        finally:
            writer.close()

    server = await start_server(echo, "127.0.0.1", 0, backlog=BACKLOG, ssl=context)
    keep.append(server)
    return port_of(server.sockets[0])


async def serve_sock(size: int, folder: Path) -> int:
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


SERVICES: dict[str, Callable[[int, Path], Awaitable[int | str]]] = {
    "echo": serve_echo,
    "buffered": serve_buffered,
    "streams": serve_streams,
    "ownstreams": serve_own_streams,
    "sock": serve_sock,
    "twowrites": serve_two_writes,
    "unix": serve_unix,
    "tls": serve_tls,
    "tlsstreams": serve_tls_streams,
    "tlsownstreams": serve_tls_own_streams,
    "waiting": serve_waiting,
    "sink": serve_sink,
    "fetch": serve_fetch,
    **computing.SERVICES,
    **datagrams.SERVICES,
    **flooded.SERVICES,
    **web.SERVICES,
}


def die_with_parent() -> None:
    """SIGKILL for this process when the one that started it ends, however it ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


async def serve(service: str, size: int, folder: Path) -> None:
    print(await SERVICES[service](size, folder), flush=True)
    await asyncio.gather(*background, asyncio.get_running_loop().create_future())


def main() -> None:
    die_with_parent()
    service, name, size, folder = sys.argv[1:]
    with asyncio.Runner(loop_factory=factory_or_exit(name)) as runner:
        runner.run(serve(service, int(size), Path(folder)))


if __name__ == "__main__":
    main()
