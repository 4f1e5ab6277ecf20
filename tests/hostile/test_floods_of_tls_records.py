"""Records that cost the sender nothing: what they may cost the receiver is bounded."""

from __future__ import annotations

import asyncio

import pytest
from forged_tls import APPLICATION_DATA, HANDSHAKE, Forger, client_hello, forged, key_update
from recording import record_errors

MAX_ANSWERS = 64 * 1024  # connection.MAX_ANSWERS
LARGEST_READ = 256 * 1024
MANY = 4 * 1024 * 1024


async def flood(forger: Forger, kind: int, payload: bytes) -> tuple[int, bytes]:
    """Send records until the other end has not read for a while, or MANY bytes are sent.

    Return how many were sent, and what is left of the last record.
    """
    sent = blocked = 0
    unsent = b""
    while sent < MANY and blocked < 20:
        if len(unsent) < 4096:
            unsent += b"".join(forger.keys.seal(kind, payload) for _ in range(300))
        try:
            count = forger.sock.send(unsent)
        except BlockingIOError:
            blocked += 1
            await asyncio.sleep(0.005)
        else:
            blocked = 0
            sent += count
            unsent = unsent[count:]
            await asyncio.sleep(0)
    return sent, unsent


async def read_and_drop(forger: Forger) -> None:
    while await asyncio.get_running_loop().sock_recv(forger.sock, 1 << 20):
        pass


@pytest.mark.edgeloop_only  # asyncio keeps every answer, as many as the peer wants
@pytest.mark.parametrize(
    ("server_side", "version", "question"),
    [
        (False, "TLSv1.3", key_update(answer=True)),
        (True, "TLSv1.3", key_update(answer=True)),
        (True, "TLSv1.2", client_hello()),
    ],
    ids=["a server's keys", "a client's keys", "renegotiation"],
)
async def test_answers_that_the_peer_does_not_take_are_few(server_side: bool, version: str, question: bytes) -> None:
    """OpenSSL answers each question. Who reads no answers is not read itself, until it does."""
    errors = record_errors(asyncio.get_running_loop())
    async with forged(server_side=server_side, version=version, buffers=8192) as (transport, protocol, forger):
        sent, unsent = await flood(forger, HANDSHAKE, question)
        assert sent < MANY
        assert transport.get_write_buffer_size() <= MAX_ANSWERS + LARGEST_READ
        reading = asyncio.ensure_future(read_and_drop(forger))
        await forger.send_raw(unsent + forger.keys.seal(APPLICATION_DATA, b"hello"))
        assert await protocol.bytes_in(5) == b"hello"
        assert "connection_lost" not in protocol.calls
        transport.abort()
        await asyncio.gather(reading, return_exceptions=True)
    assert errors == []
