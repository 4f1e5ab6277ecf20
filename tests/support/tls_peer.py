"""The other end of a TLS connection, step by step: the test says when it reads, sends close_notify or vanishes."""

from __future__ import annotations

import _ssl
import asyncio
import contextlib
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from sockets import tcp_pair
from tls_certificates import client_context, server_context

import edgeloop

T = TypeVar("T")
AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.BaseProtocol)

# An interpreter with the ssl module inside of it, or whose library isn't loaded as a shared one, doesn't show its functions.
DIRECT = (
    edgeloop.EDITION == "compiled"
    and hasattr(_ssl, "__file__")
    and sys.implementation.name == "cpython"
    and os.environ.get("EDGELOOP_OPENSSL") != "0"
)

APPLICATION_DATA = 23  # RFC 8446, section 5.1: ContentType


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's name of what was wrong. PyPy, which knows the names of an older OpenSSL, may have the text alone."""
    return error.reason or str(error).rpartition("] ")[2].upper().replace(" ", "_")


class Peer:
    """An SSLObject on a non-blocking socket; the coroutines run on the loop under test."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> None:
        self.sock = sock
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        hostname = None if server_side else "localhost"
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side, server_hostname=hostname)

    async def _do(self, operation: Callable[..., T], *args: Any) -> T:
        while True:
            try:
                result = operation(*args)
            except ssl.SSLWantReadError:
                await self.flush()
                await self._fill()
            except ssl.SSLError:
                await self.flush()  # the alert
                raise
            else:
                await self.flush()
                return result

    async def flush(self) -> None:
        if data := self.outgoing.read():
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def _fill(self) -> None:
        if data := await asyncio.get_running_loop().sock_recv(self.sock, 65536):
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    async def handshake(self) -> None:
        await self._do(self.ssl.do_handshake)

    async def send(self, data: bytes) -> None:
        await self._do(self.ssl.write, data)

    async def receive(self, count: int) -> bytes:
        """Exactly ``count`` bytes, or fewer if close_notify comes before; ssl.SSLEOFError if the stream is cut off."""
        parts = []
        with contextlib.suppress(ssl.SSLZeroReturnError):  # close_notify, when ours has been sent
            while count > 0 and (part := await self._do(self.ssl.read, min(count, 65536))):
                parts.append(part)
                count -= len(part)
        return b"".join(parts)

    async def receive_all(self) -> bytes:
        return await self.receive(1 << 62)

    async def send_close_notify(self) -> None:
        """Say that nothing more will be sent, and wait for no answer."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.unwrap()
        await self.flush()

    def end(self) -> None:
        """FIN without close_notify."""
        self.sock.shutdown(socket.SHUT_WR)


async def records(peer: Peer) -> list[int]:
    """The sizes of the application data records that wait at the peer; they stay there for it to read."""
    data = await asyncio.get_running_loop().sock_recv(peer.sock, 1 << 20)
    peer.incoming.write(data)

    def split() -> Iterator[tuple[int, int]]:
        at = 0
        while at < len(data):
            size = int.from_bytes(data[at + 3 : at + 5], "big")
            yield data[at], size
            at += 5 + size

    return [size for kind, size in split() if kind == APPLICATION_DATA]


@contextlib.asynccontextmanager
async def secured(
    factory: Callable[[], AnyProtocol],
    *,
    server_side: bool = False,
    version: str | None = None,
    send_buffer: int | None = None,
    sslobject_class: type[ssl.SSLObject] | None = None,
    **timeouts: Any,
) -> AsyncIterator[tuple[asyncio.Transport, AnyProtocol, Peer]]:
    """A connection after its handshake: the loop's transport and protocol at one end, a Peer at the other.

    ``sslobject_class`` is for the loop's end.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair(send_buffer)
    contexts = client_context(version=version), server_context(version=version)
    if sslobject_class is not None:
        contexts[server_side].sslobject_class = sslobject_class
    with theirs:
        peer = Peer(theirs, contexts[not server_side], server_side=not server_side)
        if server_side:
            connect = loop.connect_accepted_socket(factory, ours, ssl=contexts[1], **timeouts)
        else:
            connect = loop.create_connection(
                factory, sock=ours, ssl=contexts[0], server_hostname="localhost", **timeouts
            )
        (transport, protocol), _ = await asyncio.gather(connect, peer.handshake())
        try:
            yield transport, protocol, peer
        finally:
            transport.abort()
            await asyncio.sleep(0.01)
