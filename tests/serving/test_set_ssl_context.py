"""Server.set_ssl_context: a new certificate for new connections."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from limited_servers import serving
from recording import until
from tls_certificates import client_context, server_context

pytestmark = pytest.mark.edgeloop_only  # asyncio's Server has no such method


async def connect(address: tuple[str, int], name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*address, ssl=client_context(), server_hostname=name)


async def test_new_connections_have_the_new_certificate_and_old_ones_live() -> None:
    async with serving(ssl=server_context("old.example")) as (server, address):
        reader, writer = await connect(address, "old.example")
        context = server_context("new.example")
        server.set_ssl_context(context)
        _, other = await connect(address, "new.example")
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(address, "old.example")
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert server._ssl_context is context
        for writing in (writer, other):
            writing.close()
            await writing.wait_closed()
        await until(lambda: server.status().open == 0)


async def test_a_plain_server_has_no_context_to_set() -> None:
    async with serving() as (server, _):
        with pytest.raises(ValueError, match="has no TLS"):
            server.set_ssl_context(server_context())


@pytest.mark.parametrize("wrong", [None, "cert.pem", True])
async def test_what_is_no_context(wrong: Any) -> None:
    async with serving(ssl=server_context()) as (server, _):
        with pytest.raises(TypeError, match="needs an SSLContext"):
            server.set_ssl_context(wrong)


async def test_the_context_of_a_client() -> None:
    """The handshakes would fail one by one."""
    async with serving(ssl=server_context()) as (server, _):
        with pytest.raises(ValueError, match="PROTOCOL_TLS_CLIENT"):
            server.set_ssl_context(client_context())
