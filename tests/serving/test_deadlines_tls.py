"""The timeouts of a TLS server count the bytes of the socket; the first byte is the first of the client's data."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from recording import Recorder, Recording, turns
from set_clock import Served, ended, pass_time, play, serving
from tls_certificates import client_context, server_context
from tls_peer import Peer

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have no limits


@contextlib.asynccontextmanager
async def secure(**limits: Any) -> AsyncIterator[Served]:
    """A server whose own limit for handshakes is far away."""
    async with serving(Recorder, tls=server_context(), ssl_handshake_timeout=1e6, **limits) as served:
        yield served


async def connected(served: Served) -> tuple[socket.socket, Peer, Recording]:
    sock = await served.client()
    peer = Peer(sock, client_context(), server_side=False)
    await peer.handshake()
    protocol = await served.protocol()
    await protocol.called("connection_made")
    return sock, peer, protocol


@pytest.mark.parametrize("name", ["idle_timeout", "first_byte_timeout", "max_lifetime"])
def test_a_client_that_never_begins_its_handshake_is_ended(name: str) -> None:
    async def main() -> None:
        async with secure(**{name: 80}) as served:
            sock = await served.client()
            with sock:
                while not served.protocols:
                    await turns()
                await turns()
                await pass_time(79)
                assert served.server.status().open == 1
                await pass_time(22)
                assert served.server.status().open == 0
                assert sum(served.server.status().timed_out.values()) == 1
                assert served.protocols[0].calls == []

    play(main())


def test_a_client_that_stops_in_its_handshake_is_ended() -> None:
    async def main() -> None:
        async with secure(first_byte_timeout=80) as served:
            sock = await served.client()
            with sock:
                sock.send(b"\x16\x03\x01\x02\x00")
                while not served.protocols:
                    await turns()
                await turns()
                await pass_time(102)
                assert served.server.status().timed_out["first_byte"] == 1

    play(main())


@pytest.mark.parametrize("name", ["idle_timeout", "first_byte_timeout", "max_lifetime"])
def test_a_client_that_is_silent_after_its_handshake_gets_the_timeout(name: str) -> None:
    async def main() -> None:
        async with secure(**{name: 80}) as served:
            sock, _, protocol = await connected(served)
            with sock:
                await pass_time(79)
                assert "connection_lost" not in protocol.calls
                await pass_time(24)
                assert isinstance(protocol.error, TimeoutError)
                assert str(protocol.error).startswith(name)

    play(main())


def test_a_client_that_has_spoken_is_not_silent() -> None:
    async def main() -> None:
        async with secure(first_byte_timeout=80) as served:
            sock, peer, protocol = await connected(served)
            with sock:
                await peer.send(b"x")
                await protocol.bytes_in(1)
                await pass_time(1000)
                assert "connection_lost" not in protocol.calls

    play(main())


def test_bytes_in_either_direction_begin_the_idle_time_again() -> None:
    async def main() -> None:
        async with secure(idle_timeout=80) as served:
            sock, peer, protocol = await connected(served)
            with sock:
                for count in range(1, 4):
                    await pass_time(60)
                    await peer.send(b"x")
                    await protocol.bytes_in(count)
                    await pass_time(60)
                    protocol.transport.write(b"y")
                assert "connection_lost" not in protocol.calls
                await pass_time(102)
                assert isinstance(protocol.error, TimeoutError)

    play(main())


def test_a_peer_that_takes_nothing_is_ended() -> None:
    async def main() -> None:
        async with secure(write_timeout=80) as served:
            sock, _, protocol = await connected(served)
            with sock:
                protocol.transport.write(bytes(32 << 20))
                await turns()
                await pass_time(70)
                assert "connection_lost" not in protocol.calls
                await ended(protocol)
                assert str(protocol.error).startswith("write_timeout")

    play(main())


@pytest.mark.parametrize("name", ["idle_timeout", "write_timeout"])
def test_start_tls_on_an_accepted_connection_goes_on_being_watched(name: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit: dict[str, Any] = {name: 80}
        async with serving(Recorder, **limit) as served:
            sock, protocol = await served.connected()
            with sock:
                peer = Peer(sock, client_context(), server_side=False)
                starting = loop.create_task(
                    loop.start_tls(
                        protocol.transport, protocol, server_context(), server_side=True, ssl_handshake_timeout=1e6
                    )
                )
                await peer.handshake()
                transport = await starting
                assert transport is not None
                protocol.transport = transport
                if name == "write_timeout":
                    protocol.transport.write(bytes(32 << 20))
                await pass_time(70)
                assert "connection_lost" not in protocol.calls
                await ended(protocol)
                assert str(protocol.error).startswith(name)
                assert sum(served.server.status().timed_out.values()) == 1

    play(main())


def test_start_tls_fails_with_the_timeout_of_a_client_that_never_answers() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serving(Recorder, idle_timeout=80) as served:
            sock, protocol = await served.connected()
            with sock:
                starting = loop.create_task(
                    loop.start_tls(
                        protocol.transport, protocol, server_context(), server_side=True, ssl_handshake_timeout=1e6
                    )
                )
                await turns()
                await pass_time(110)
                with pytest.raises(TimeoutError, match="idle_timeout"):
                    await starting

    play(main())
