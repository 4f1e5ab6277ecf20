"""Ends of TLS connections that few peers bring about, and what a program does meanwhile."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from recording import Recorder, turns
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import Peer, secured

GARBAGE = b"\x17\x03\x03\x00\x20" + bytes(32)  # a record that nobody has encrypted


async def test_garbage_after_our_close_notify_ends_it() -> None:
    async with secured(Recorder) as (transport, protocol, peer):
        transport.close()
        assert await peer.receive_all() == b""
        await asyncio.get_running_loop().sock_sendall(peer.sock, GARBAGE)
        await protocol.lost()
        assert protocol.received == b""
        assert transport.is_closing()


async def test_reading_is_resumed_twice_in_one_callback() -> None:
    async with secured(Recorder) as (transport, protocol, peer):
        transport.pause_reading()
        await peer.send(b"abc")
        await turns()
        for _ in range(2):
            transport.resume_reading()
            transport.pause_reading()
        transport.resume_reading()
        assert await protocol.bytes_in(3) == b"abc"


async def test_an_empty_host_name_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As asyncio: who says "" wants the certificate alone."""
    made: list[ssl.SSLContext] = []

    def create_default_context(*args: Any, **keywords: Any) -> ssl.SSLContext:
        made.append(client_context())
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    with theirs:
        peer = Peer(theirs, server_context("example.org"), server_side=True)
        connect = loop.create_connection(Recorder, sock=ours, ssl=True, server_hostname="")
        (transport, protocol), _ = await asyncio.gather(connect, peer.handshake())
        assert made[0].check_hostname is False
        transport.abort()
        await protocol.lost()
