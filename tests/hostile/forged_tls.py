"""A TLS peer that says what no library would: after an honest handshake it encrypts whatever a test wants.

The keys come from the key log of the peer's own context (NSS key log format), the records are made here: RFC 8446,
section 5.2, and RFC 5288 for TLS 1.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from recording import Recorder
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import Peer

# ContentType, RFC 8446, section 5.1.
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
# HandshakeType, RFC 8446, section 4, and RFC 5246, section 7.4.
HELLO_REQUEST, CLIENT_HELLO, NEW_SESSION_TICKET, KEY_UPDATE = 0, 1, 4, 24

LARGEST = 16384  # payload of a record

VERSION = b"\x03\x03"  # of every record, in TLS 1.2 and 1.3


def record(kind: int, payload: bytes, length: int | None = None) -> bytes:
    """A record as it goes over the wire; ``length`` is what its header claims."""
    return bytes([kind]) + VERSION + (len(payload) if length is None else length).to_bytes(2, "big") + payload


def message(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A handshake message."""
    return bytes([kind]) + (len(body) if length is None else length).to_bytes(3, "big") + body


def key_update(*, answer: bool) -> bytes:
    """RFC 8446, section 4.6.3; ``answer`` asks the receiver to change its keys too."""
    return message(KEY_UPDATE, bytes([answer]))


def client_hello() -> bytes:
    """A ClientHello as handshake messages, without the record around it."""
    return plain_hello()[5:]


def aes_gcm(key: bytes) -> Any:
    """The cipher; without the package, which is not to be had for each Python, the test is skipped."""
    return pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead").AESGCM(key)


def plain_hello(context: ssl.SSLContext | None = None) -> bytes:
    """What a client begins with: one record."""
    outgoing = ssl.MemoryBIO()
    client = (context or client_context()).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class Keys13:
    """One direction of a TLS 1.3 connection, TLS_AES_256_GCM_SHA384."""

    def __init__(self, secret: bytes) -> None:
        self._use(secret)

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._aead = aes_gcm(self._expand(b"key", 32))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")
        self._number = 0

    def _expand(self, label: bytes, size: int) -> bytes:
        # HKDF-Expand-Label of at most one block, RFC 8446, section 7.1.
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
        return hmac.digest(self._secret, info + b"\1", "sha384")[:size]

    def seal(self, kind: int, payload: bytes, padding: int = 0) -> bytes:
        """One record. A KeyUpdate changes the keys behind it."""
        inner = payload + bytes([kind]) + bytes(padding)
        header = record(APPLICATION_DATA, b"", len(inner) + 16)
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        sealed: bytes = header + self._aead.encrypt(nonce, inner, header)
        if kind == HANDSHAKE and payload[:1] == bytes([KEY_UPDATE]) and len(payload) == 5:
            self._use(self._expand(b"traffic upd", 48))
        return sealed


class Keys12:
    """One direction of a TLS 1.2 connection, ECDHE-ECDSA-AES256-GCM-SHA384, behind its Finished."""

    def __init__(self, master: bytes, client_random: bytes, server_random: bytes, *, server_side: bool) -> None:
        seed = b"key expansion" + server_random + client_random
        block, a = b"", seed
        while len(block) < 72:
            a = hmac.digest(master, a, "sha384")
            block += hmac.digest(master, a + seed, "sha384")
        self._aead = aes_gcm(block[32 * server_side :][:32])
        self._salt = block[64 + 4 * server_side :][:4]
        self._number = 1

    def seal(self, kind: int, payload: bytes) -> bytes:
        """One record."""
        number = self._number.to_bytes(8, "big")
        self._number += 1
        additional = number + record(kind, b"", len(payload))
        return record(kind, number + self._aead.encrypt(self._salt + number, payload, additional))


class Forger(Peer):
    """A Peer that keeps what its handshake agreed on."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="keys")
        context.keylog_filename = self._log.name
        super().__init__(sock, context, server_side=server_side)
        self._server_side = server_side
        self._heard = b""
        self.keys: Any = None

    async def _fill(self) -> None:
        before = self.incoming.pending
        await super()._fill()
        data = self.incoming.read()
        self.incoming.write(data)
        self._heard += data[before:]

    async def handshake(self) -> None:
        with self._log as log:
            await super().handshake()
            secrets = {}
            for line in Path(log.name).read_text().splitlines():
                if not line.startswith("#"):
                    label, random, secret = line.split()
                    secrets[label] = bytes.fromhex(random), bytes.fromhex(secret)
        if "CLIENT_RANDOM" in secrets:
            client_random, master = secrets["CLIENT_RANDOM"]
            assert not self._server_side
            server_random = self._heard[11:43]  # behind the heads of record and message, and the version
            self.keys = Keys12(master, client_random, server_random, server_side=False)
        else:
            label = "SERVER_TRAFFIC_SECRET_0" if self._server_side else "CLIENT_TRAFFIC_SECRET_0"
            self.keys = Keys13(secrets[label][1])

    async def send_raw(self, data: bytes) -> None:
        """Send bytes that no engine has seen."""
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def seal(self, kind: int, payload: bytes) -> None:
        """Send one record, encrypted."""
        await self.send_raw(self.keys.seal(kind, payload))


def small_pair(size: int | None = None) -> tuple[socket.socket, socket.socket]:
    """As tcp_pair, but ``size`` (bytes) bounds what the kernel holds in both directions."""
    if size is None:
        return tcp_pair()
    with socket.socket() as listening, socket.socket() as bounded:
        for sock in (listening, bounded):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        bounded.connect(listening.getsockname())
        theirs, _ = listening.accept()
        ours = socket.socket(fileno=bounded.detach())
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


@contextlib.asynccontextmanager
async def forged(
    *,
    server_side: bool,
    version: str = "TLSv1.3",
    buffers: int | None = None,
    sslobject_class: type[ssl.SSLObject] | None = None,
    factory: Callable[[], Any] = Recorder,
) -> AsyncIterator[tuple[asyncio.Transport, Any, Forger]]:
    """A connection after its handshake: the loop's transport and protocol at one end, a Forger at the other.

    ``server_side`` and ``sslobject_class`` are of the loop's end; with TLS 1.2 the Forger is the client.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = small_pair(buffers)
    client, server = client_context(version=version), server_context(version=version)
    server.num_tickets = 0  # with TLS 1.3 they would be the server's first records
    if version == "TLSv1.2":
        client.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    if sslobject_class is not None:
        (server if server_side else client).sslobject_class = sslobject_class
    with theirs:
        forger = Forger(theirs, client if server_side else server, server_side=not server_side)
        if server_side:
            connect = loop.connect_accepted_socket(factory, ours, ssl=server)
        else:
            connect = loop.create_connection(factory, sock=ours, ssl=client, server_hostname="localhost")
        (transport, protocol), _ = await asyncio.gather(connect, forger.handshake())
        try:
            yield transport, protocol, forger
        finally:
            if "connection_lost" not in protocol.calls:
                transport.abort()
                await protocol.lost()
