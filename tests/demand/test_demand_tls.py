"""What users of other loops report about TLS, a short test for each report.

Each docstring begins with the report it stands for; test_demand_rows.py holds the list of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable

import pytest
from recording import Recorder, record_errors
from tls_certificates import client_context, server_context
from tls_peer import secured

Factory = Callable[[], asyncio.AbstractEventLoop]


@pytest.mark.edgeloop_only
async def test_tls_close_stops_reading() -> None:
    """uvloop #471: TLS close() downloads on for 30 s; here a peer that floods can't keep the connection open."""
    async with secured(Recorder) as (transport, protocol, peer):

        async def flood() -> None:
            with contextlib.suppress(OSError):
                while True:
                    await peer.send(bytes(65536))

        flooding = asyncio.ensure_future(flood())
        await protocol.called("data_received", 3)
        transport.close()
        delivered = len(protocol.received)
        await protocol.lost()
        await flooding  # which only a closed connection ends
        assert len(protocol.received) == delivered


@pytest.mark.edgeloop_only
async def test_tls_buffers_are_shared(loop: asyncio.AbstractEventLoop) -> None:
    """uvloop #565, cpython #109534: a 256 KiB buffer for each TLS connection; here 20 cost less than one such."""
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has none")
    asking, answering = client_context(), server_context()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1))
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def connect(port: int) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=asking)
        writer.write(b"x")
        await reader.readexactly(1)
        return writer

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=answering)
    port = server.sockets[0].getsockname()[1]
    writers = [await connect(port)]  # pays for the shared buffers
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        writers += [await connect(port) for _ in range(20)]
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Both ends are in this process; 20 of each would have 40 buffers.
    assert grown < 5 * 256 * 1024
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def test_tls_stream_that_is_cut_off() -> None:
    """asyncio's own tests: eof_received after an unclean TLS end."""
    errors = record_errors(asyncio.get_running_loop())
    async with secured(Recorder) as (_, protocol, peer):
        await peer.send(b"cut")
        peer.end()  # FIN without close_notify
        await protocol.lost()
        assert protocol.received == b"cut"
        assert protocol.calls[-2:] == ["eof_received", "connection_lost"]
    assert errors == []
