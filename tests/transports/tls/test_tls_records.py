"""Where the pieces of the way in and of the way out are cut."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

import pytest
from recording import BufferRecorder, Recorder
from tls_peer import reason_of, secured


class Buffered(BufferRecorder):
    """Of a bytearray, asyncio fills a copy with the second record."""

    def __init__(self) -> None:
        super().__init__()
        self.view = memoryview(self.buffer)

    def get_buffer(self, sizehint: int) -> Any:
        return self.view


class OwnObject(ssl.SSLObject):
    """A class of the application's is called for each record; without one, OpenSSL is, where it can be."""


versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
engines = pytest.mark.parametrize("sslobject_class", [None, OwnObject])


@versions
@engines
@pytest.mark.parametrize("factory", [Recorder, Buffered])
@pytest.mark.parametrize("cut", [1, 5, 100, 10_000, 16_400, -1])
async def test_records_that_arrive_in_part(
    version: str, sslobject_class: type[ssl.SSLObject] | None, factory: type[Recorder], cut: int
) -> None:
    """The rest of one and the whole of others come together, so that more is decrypted than has just arrived."""
    sizes = [16384, 1000, 16384, 1]

    loop = asyncio.get_running_loop()
    async with secured(factory, version=version, sslobject_class=sslobject_class) as (_, protocol, peer):
        sent = [os.urandom(size) for size in sizes]
        for data in sent:
            peer.ssl.write(data)
        stream = peer.outgoing.read()
        await loop.sock_sendall(peer.sock, stream[:cut])
        await asyncio.sleep(0.02)
        await loop.sock_sendall(peer.sock, stream[cut:])
        await protocol.bytes_in(sum(sizes))
        assert protocol.received == b"".join(sent)


@versions
@engines
async def test_what_waits_to_be_sent_stays_in_order(version: str, sslobject_class: type[ssl.SSLObject] | None) -> None:
    """Thousands of writes, for a peer that reads only now and then; some share a record, some take two."""
    sizes = [10, 9000, 9000, 20_000, 1] * 500

    async with secured(Recorder, version=version, send_buffer=65536, sslobject_class=sslobject_class) as (
        transport,
        _,
        peer,
    ):
        sent = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
        for data in sent[:2000]:
            transport.write(data)
        first = await peer.receive(sum(sizes[:1500]))
        for data in sent[2000:]:
            transport.write(data)
        assert transport.get_write_buffer_size() > 0
        rest = await peer.receive(sum(sizes[1500:]))
        assert first + rest == b"".join(sent)
        assert transport.get_write_buffer_size() == 0


@versions
@engines
async def test_what_comes_while_the_application_pauses_is_kept(
    version: str, sslobject_class: type[ssl.SSLObject] | None
) -> None:
    """Nothing is delivered in a pause, and what waited for its end comes before what arrives then."""
    data = os.urandom(300_000)

    async with secured(Recorder, version=version, sslobject_class=sslobject_class) as (transport, protocol, peer):
        sending = asyncio.ensure_future(peer.send(data))
        while len(protocol.received) < len(data):
            transport.pause_reading()
            before = len(protocol.received)
            await asyncio.sleep(0.005)
            assert len(protocol.received) == before
            transport.resume_reading()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await sending
        assert protocol.received == data


@pytest.mark.edgeloop_only  # asyncio drops what it has decrypted before
@versions
@engines
@pytest.mark.parametrize("factory", [Recorder, Buffered])
async def test_a_broken_record_and_what_came_before_it(
    version: str, sslobject_class: type[ssl.SSLObject] | None, factory: type[Recorder]
) -> None:
    """The records before are delivered; the error is the ssl module's, with its reason."""
    loop = asyncio.get_running_loop()
    async with secured(factory, version=version, sslobject_class=sslobject_class) as (_, protocol, peer):
        peer.ssl.write(b"good")
        good = peer.outgoing.read()
        peer.ssl.write(b"bad")
        bad = bytearray(peer.outgoing.read())
        bad[-1] ^= 1
        await loop.sock_sendall(peer.sock, good + bad)
        error = await protocol.lost()
        assert protocol.received == b"good"
        assert isinstance(error, ssl.SSLError)
        assert error.library == "SSL"
        # The first of them up to OpenSSL 3.1, the second from 3.2 on.
        assert reason_of(error) in ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "RECORD_LAYER_FAILURE")
