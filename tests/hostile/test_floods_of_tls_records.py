"""Records that cost the sender nothing: what they may cost the receiver is bounded."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from forged_tls import APPLICATION_DATA, HANDSHAKE, Forger, client_hello, forged, key_update
from recording import BufferRecorder, Recorder, record_errors

MAX_ANSWERS = 64 * 1024  # connection.MAX_ANSWERS
LARGEST_READ = 256 * 1024
MANY = 16 * 1024 * 1024  # OpenSSL 3.6 answers one renegotiation in ten


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


class OwnObject(ssl.SSLObject):
    """A class of the application's is called for each record; without one, OpenSSL is, where it can be."""


@pytest.mark.edgeloop_only  # asyncio handles all that it has read at once
@pytest.mark.parametrize("sslobject_class", [None, OwnObject], ids=["direct", "by the ssl module"])
@pytest.mark.parametrize("factory", [Recorder, BufferRecorder])
@pytest.mark.parametrize("end", [False, True], ids=["more to come", "and the end"])
async def test_records_without_data_are_handled_a_piece_in_a_turn(
    end: bool, factory: type[Any], sslobject_class: type[ssl.SSLObject] | None
) -> None:
    """OpenSSL takes 23 us for a KeyUpdate of 27 bytes: those of one read held up everybody for 200 ms."""
    loop = asyncio.get_running_loop()
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        loop.call_soon(tick)

    async with forged(server_side=True, sslobject_class=sslobject_class, factory=factory) as (
        transport,
        protocol,
        forger,
    ):
        lower_calls: Any = transport._ssl_protocol  # type: ignore[attr-defined]
        read = b"".join(forger.keys.seal(HANDSHAKE, key_update(answer=False)) for _ in range(6000))
        read += forger.keys.seal(APPLICATION_DATA, b"good")
        loop.call_soon(tick)
        lower_calls.data_received(read)  # as the lower transport, when it has read so much
        assert protocol.received == b""
        if end:
            lower_calls.eof_received()
        else:
            await forger.seal(APPLICATION_DATA, b"ness")
        await protocol.bytes_in(4)
        assert ticks >= 2
        if end:
            assert await protocol.lost() is None
            assert protocol.received == b"good"
        else:
            assert await protocol.bytes_in(8) == b"goodness"
