"""Streams over TLS, and streams that are upgraded to it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest
from recording import Run
from tls_certificates import client_context, server_context
from tls_peer import Peer


async def test_streams_are_upgraded() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\n")
        await writer.start_tls(server_context())
        writer.write(await reader.readline())
        await writer.drain()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"go ahead\n"
    await writer.start_tls(client_context(), server_hostname="localhost")
    writer.write(b"secret\n")
    assert await reader.readline() == b"secret\n"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


@pytest.mark.edgeloop_only
async def test_a_handshake_that_came_early_is_not_lost() -> None:
    """https://github.com/python/cpython/issues/142352: it sits in the stream reader when the server upgrades."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        await writer.start_tls(server_context())
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as sock:
        sock.setblocking(False)
        peer = Peer(sock, client_context(), server_side=False)
        with pytest.raises(ssl.SSLWantReadError):
            peer.ssl.do_handshake()
        await asyncio.get_running_loop().sock_sendall(sock, b"STARTTLS\n" + peer.outgoing.read())
        await peer.handshake()
        await peer.send(b"secret\n")
        assert await peer.receive_all() == b"secret\n"
    server.close()
    await server.wait_closed()


def test_an_sslobject_class_of_the_context_s_own_is_called(run: Run) -> None:
    """Its read and write may do more than the ssl module's, which are left out where they are the module's own."""
    calls: list[str] = []

    class Noting(ssl.SSLObject):
        def read(self, *args: Any) -> Any:
            calls.append("read")
            return super().read(*args)

        def write(self, data: Any) -> int:
            calls.append("write")
            return super().write(data)

    context = client_context()
    context.sslobject_class = Noting

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await reader.read()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context())
        _, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        assert isinstance(writer.get_extra_info("ssl_object"), Noting)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())
    assert set(calls) == {"read", "write"}


async def test_what_the_handshake_found_is_known_after_the_end() -> None:
    """Even if nobody asked before: asyncio takes the answers down when the handshake is done."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context())
    _, port = server.sockets[0].getsockname()
    for end in ("close", "abort"):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(), server_hostname="localhost")
        if end == "close":
            writer.close()
        else:
            writer.transport.abort()
        await writer.wait_closed()
        certificate = writer.get_extra_info("peercert")
        assert ("DNS", "localhost") in certificate["subjectAltName"]
        assert writer.get_extra_info("peercert") is certificate
        name, protocol, _ = writer.get_extra_info("cipher")
        assert name and protocol.startswith("TLS")
        assert writer.get_extra_info("compression", "unknown") is None
    server.close()
    await server.wait_closed()
