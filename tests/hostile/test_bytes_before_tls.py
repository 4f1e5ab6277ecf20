"""Plain bytes around a handshake: whoever sits in between can add them, and they are never taken for encrypted ones.

RFC 3207, section 6, is where SMTP warns of it; CVE-2011-0411 is where it was forgotten first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from forged_tls import ALERT, APPLICATION_DATA, record
from recording import Recorder
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import Peer

import edgeloop

CLOSE_NOTIFY = b"\x01\x00"
PLAIN = b"injected\n"
#: A line; what claims to be encrypted; the alert that would end the data.
PAYLOADS = (PLAIN, record(APPLICATION_DATA, PLAIN), record(ALERT, CLOSE_NOTIFY))
VERSIONS = ("TLSv1.2", "TLSv1.3")

sides = pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])


class Injector(Peer):
    """Puts ``injected`` before record number ``before`` of its handshake."""

    injected = b""
    before = -1

    async def flush(self) -> None:
        data = self.outgoing.read()
        parts = []
        while data:
            size = 5 + int.from_bytes(data[3:5], "big")
            if self.before == 0:
                parts.append(self.injected)
            self.before -= 1
            parts.append(data[:size])
            data = data[size:]
        await asyncio.get_running_loop().sock_sendall(self.sock, b"".join(parts))


class ProtocolEnd:
    """Upgrades by ``loop.start_tls``, for a protocol. What came before is the protocol's; what comes after is read here."""

    async def connect(self, sock: Any, server_side: bool) -> None:
        self.server_side = server_side
        loop = asyncio.get_running_loop()
        self.transport, self.protocol = await loop.create_connection(Recorder, sock=sock)

    async def line(self) -> bytes:
        await self.protocol.until(lambda: b"\n" in self.protocol.received)
        return bytes(self.protocol.received.partition(b"\n")[0])

    async def upgrade(self, context: ssl.SSLContext) -> None:
        self.protocol.received = bytearray()
        hostname = None if self.server_side else "localhost"
        loop = asyncio.get_running_loop()
        await loop.start_tls(
            self.transport, self.protocol, context, server_side=self.server_side, server_hostname=hostname
        )

    async def read(self) -> bytes:
        """All that comes to the end, which may be an error."""
        await self.protocol.lost()
        return bytes(self.protocol.received)

    async def close(self) -> None:
        self.transport.abort()
        await self.protocol.lost()


class StreamEnd:
    """Upgrades by ``StreamWriter.start_tls``."""

    def __init__(self, module: ModuleType) -> None:
        self.module: Any = module

    async def connect(self, sock: Any, server_side: bool) -> None:
        loop = asyncio.get_running_loop()
        if not server_side:
            self.reader, self.writer = await self.module.open_connection(sock=sock)
            return
        accepted = loop.create_future()

        def on_connected(reader: Any, writer: Any) -> None:
            accepted.set_result((reader, writer))

        reader = self.module.StreamReader(65536, loop)
        self.protocol = self.module.StreamReaderProtocol(reader, on_connected, loop=loop)
        await loop.connect_accepted_socket(lambda: self.protocol, sock)
        self.reader, self.writer = await accepted

    async def line(self) -> bytes:
        return bytes(await self.reader.readline()).rstrip(b"\n")

    async def upgrade(self, context: ssl.SSLContext) -> None:
        hostname = None if self.writer._protocol._client_connected_cb is not None else "localhost"
        await self.writer.start_tls(context, server_hostname=hostname)

    async def read(self) -> bytes:
        read = []
        try:
            while part := await self.reader.read(1000):
                read.append(part)
        except (OSError, ssl.SSLError):
            pass
        return b"".join(read)

    async def close(self) -> None:
        self.writer.transport.abort()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


ENDS: dict[str, Callable[[], Any]] = {
    "protocol": ProtocolEnd,
    "asyncio.streams": lambda: StreamEnd(asyncio.streams),
    "edgeloop.streams": lambda: StreamEnd(edgeloop.streams),
}
ends = pytest.mark.parametrize("end", ENDS)


async def talk(end: str, server_side: bool, version: str, moment: str, payload: bytes) -> tuple[Any, bytes]:
    """One conversation. Return what ``upgrade`` raised, or None, and what was read after it."""
    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    contexts = client_context(version=version), server_context(version=version)
    upgrading = asyncio.Event()
    asked = asyncio.Event()

    async def attack() -> None:
        peer = Injector(theirs, contexts[not server_side], server_side=not server_side)
        peer.injected = payload
        await loop.sock_sendall(theirs, b"go ahead\n" + (payload if moment == "with the answer" else b""))
        await asked.wait()
        if moment == "behind the answer":
            await loop.sock_sendall(theirs, payload)
        await upgrading.wait()
        peer.before = {"before the handshake": 0, "in the handshake": 1}.get(moment, -1)
        await peer.handshake()
        await peer.send(b"secret")
        if moment == "behind the handshake":
            await loop.sock_sendall(theirs, payload)
        await peer.send_close_notify()
        if moment == "behind the end":
            await loop.sock_sendall(theirs, payload)
        peer.end()
        await peer.receive_all()

    async def upgrade() -> tuple[Any, bytes]:
        one = ENDS[end]()
        await one.connect(ours, server_side)
        try:
            assert await one.line() == b"go ahead"
            asked.set()
            if moment == "behind the answer":
                await asyncio.sleep(0.002)  # it may have been read by then, or not
            loop.call_soon(upgrading.set)
            try:
                await one.upgrade(contexts[server_side])
            except (OSError, ssl.SSLError) as exc:
                return exc, await one.read()
            return None, await one.read()
        finally:
            await one.close()

    with theirs:
        attacking = asyncio.ensure_future(attack())
        outcome = await upgrade()
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)
    return outcome


@pytest.mark.edgeloop_only  # asyncio's reader hands out what came before the handshake as if it had come encrypted
@sides
@ends
@pytest.mark.parametrize(
    "moment",
    [
        "with the answer",
        "behind the answer",
        "before the handshake",
        "in the handshake",
        "behind the handshake",
        "behind the end",
    ],
)
async def test_plain_bytes_are_never_taken_for_encrypted_ones(end: str, server_side: bool, moment: str) -> None:
    for version in VERSIONS:
        for payload in PAYLOADS:
            error, read = await talk(end, server_side, version, moment, payload)
            if moment in ("before the handshake", "in the handshake"):
                assert error is not None, payload
                assert isinstance(error, (ssl.SSLError, ConnectionError))
                assert read == b""
            elif moment == "behind the answer" and error is not None:
                assert read == b""  # taken as the beginning of a handshake, which it is not
            else:
                assert error is None
                assert read == b"secret", (version, payload)
