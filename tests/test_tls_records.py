"""Where the pieces of the way in and of the way out are cut."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, Run
from tls_peer import secured


class Buffered(BufferRecorder):
    """Of a bytearray, asyncio fills a copy with the second record."""

    def __init__(self) -> None:
        super().__init__()
        self.view = memoryview(self.buffer)

    def get_buffer(self, sizehint: int) -> Any:
        return self.view


versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


@versions
@pytest.mark.parametrize("factory", [Recorder, Buffered])
@pytest.mark.parametrize("cut", [1, 5, 100, 10_000, 16_400, -1])
def test_records_that_arrive_in_part(run: Run, version: str, factory: type[Recorder], cut: int) -> None:
    """The rest of one and the whole of others come together, so that more is decrypted than has just arrived."""
    sizes = [16384, 1000, 16384, 1]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with secured(factory, version=version) as (_, protocol, peer):
            sent = [os.urandom(size) for size in sizes]
            for data in sent:
                peer.ssl.write(data)
            stream = peer.outgoing.read()
            await loop.sock_sendall(peer.sock, stream[:cut])
            await asyncio.sleep(0.02)
            await loop.sock_sendall(peer.sock, stream[cut:])
            await protocol.bytes_in(sum(sizes))
            assert protocol.received == b"".join(sent)

    run(main())


@versions
def test_what_waits_to_be_sent_stays_in_order(run: Run, version: str) -> None:
    """Thousands of writes, for a peer that reads only now and then; some share a record, some take two."""
    sizes = [10, 9000, 9000, 20_000, 1] * 500

    async def main() -> None:
        async with secured(Recorder, version=version, send_buffer=65536) as (transport, _, peer):
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

    run(main())
