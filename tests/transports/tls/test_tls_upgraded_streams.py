"""StreamWriter.start_tls: which bytes are plain and which encrypted, and who is paused."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest
from recording import Run
from tls_certificates import client_context, server_context
from tls_peer import Peer

import edgeloop

pytestmark = pytest.mark.edgeloop_only  # asyncio reads on what was there before, as if it had come encrypted

modules = pytest.mark.parametrize("module", [asyncio, edgeloop.streams], ids=["asyncio.streams", "edgeloop.streams"])
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve(module: ModuleType, handler: Handler) -> tuple[asyncio.Server, Any]:
    server = await module.start_server(handler, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()


async def stop(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()


@pytest.mark.fair_weather  # half of it may come behind the first read
@modules
def test_what_a_client_put_before_its_handshake_is_not_read_as_encrypted(
    run: Run, module: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever sits in between can add to what is plain (RFC 3207, section 6)."""
    read: list[bytes] = []

    async def main() -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go ahead\n")
            await writer.start_tls(server_context())
            read.append(await reader.readline())
            writer.write(b"done\n")
            writer.close()

        server, address = await serve(module, handler)
        reader, writer = await module.open_connection(*address)
        writer.write(b"STARTTLS\nfrom in between\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"secret\n")
        assert await reader.readline() == b"done\n"
        writer.close()
        await writer.wait_closed()
        await stop(server)

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert read == [b"secret\n"]
    assert [record.getMessage() for record in caplog.records] == [
        "start_tls() drops 16 bytes that were received before it and not read"
    ]


@pytest.mark.fair_weather  # half of it may come behind the first read
@modules
async def test_what_a_server_put_before_its_handshake_is_not_read_as_encrypted(module: ModuleType) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\nfrom in between\n")
        await writer.start_tls(server_context())
        writer.write(b"secret\n")
        await reader.read()
        writer.close()

    server, address = await serve(module, handler)
    reader, writer = await module.open_connection(*address)
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"go ahead\n"
    await writer.start_tls(client_context(), server_hostname="localhost")
    assert await reader.readline() == b"secret\n"
    writer.close()
    await writer.wait_closed()
    await stop(server)


@modules
@pytest.mark.parametrize("before", [b"", b"from in between\n"], ids=["alone", "behind something"])
def test_a_handshake_that_came_early_is_used_or_refused(run: Run, module: ModuleType, before: bytes) -> None:
    outcome: list[BaseException | None] = []

    async def main() -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            try:
                await writer.start_tls(server_context())
            except Exception as exc:
                outcome.append(exc)
            else:
                outcome.append(None)
                writer.write(await reader.readline())
            writer.close()

        server, address = await serve(module, handler)
        with socket.create_connection(address) as sock:
            sock.setblocking(False)
            peer = Peer(sock, client_context(), server_side=False)
            with pytest.raises(ssl.SSLWantReadError):
                peer.ssl.do_handshake()
            await asyncio.get_running_loop().sock_sendall(sock, b"STARTTLS\n" + before + peer.outgoing.read())
            if before:
                with pytest.raises((ssl.SSLError, OSError)):
                    await peer.handshake()
                    await peer.receive(1)
            else:
                await peer.handshake()
                await peer.send(b"secret\n")
                assert await peer.receive_all() == b"secret\n"
        await stop(server)

    run(main())
    assert [type(exc) for exc in outcome] == [ssl.SSLError if before else type(None)]


@modules
def test_closing_an_upgraded_stream_with_unread_data_waits_for_nobody(run: Run, module: ModuleType) -> None:
    """The reader has paused its transport: that has to be the encrypted one, or the peer's close_notify is never read."""

    async def main() -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"go ahead\n")
            await writer.start_tls(server_context())
            writer.write(bytes(1_000_000))
            await reader.read()
            writer.close()

        server, address = await serve(module, handler)
        reader, writer = await module.open_connection(*address)
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(client_context(), server_hostname="localhost")
        await reader.readexactly(1)
        while writer.transport.is_reading():
            await asyncio.sleep(0.005)
        writer.close()
        await writer.wait_closed()  # with ssl_shutdown_timeout's 30 seconds, TimeoutError
        await stop(server)

    run(main(), 20)


@modules
async def test_a_reader_that_was_paused_before_the_upgrade_reads_after_it(module: ModuleType) -> None:
    total = 500_000

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(await reader.readexactly(4))
        while writer.transport.is_reading():  # type: ignore[attr-defined]
            await asyncio.sleep(0.005)
        await reader.readexactly(140_000)
        await writer.start_tls(server_context())
        writer.write(await reader.readexactly(total))
        await writer.drain()
        await reader.read()
        writer.close()

    server, address = await serve(module, handler)
    reader, writer = await module.open_connection(*address)
    writer.write(b"ping" * 2)
    assert await reader.readexactly(4) == b"ping"
    writer.write(bytes(140_000))
    await writer.start_tls(client_context(), server_hostname="localhost")
    writer.write(bytes(total))
    assert await reader.readexactly(total) == bytes(total)
    writer.close()
    await writer.wait_closed()
    await stop(server)


@modules
async def test_streams_whose_first_transport_is_the_upgraded_one_get_it(module: ModuleType) -> None:
    """Their protocol puts off its connection_made until start_tls() has returned, as CPython's own tests do."""
    loop = asyncio.get_running_loop()
    read = loop.create_future()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.set_result(await reader.readline())
        writer.close()

    class Later(module.StreamReaderProtocol):  # type: ignore[misc, name-defined]
        def connection_made(self, transport: Any) -> None:
            transport.pause_reading()
            begin = super().connection_made
            starting = loop.create_task(loop.start_tls(transport, self, server_context(), server_side=True))
            starting.add_done_callback(lambda done: begin(done.result()))

    server = await loop.create_server(
        lambda: Later(module.StreamReader(65536, loop), handler, loop=loop), "127.0.0.1", 0
    )
    _, writer = await module.open_connection(
        *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
    )
    writer.write(b"hello\n")
    assert await read == b"hello\n"
    writer.close()
    await writer.wait_closed()
    await stop(server)
