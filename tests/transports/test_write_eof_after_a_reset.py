"""write_eof on a connection that its peer has reset: shutdown(2) fails with ENOTCONN, and what came before is still there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from recording import Recorder, reset


@contextlib.asynccontextmanager
async def connected(protocol: Any) -> AsyncIterator[tuple[Any, socket.socket]]:
    """A connection by TCP, which can be reset."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connecting = asyncio.get_running_loop().create_connection(lambda: protocol, *listening.getsockname())
        transport, _ = await connecting
        peer, _ = listening.accept()
    with peer:
        yield transport, peer
    transport.abort()
    await protocol.lost()


def write_eof(transport: Any) -> None:
    """asyncio raises what shutdown fails for, and goes on to read."""
    with contextlib.suppress(OSError):
        transport.write_eof()


async def test_what_came_before_the_reset_is_delivered_and_then_the_reset() -> None:
    protocol = Recorder()
    async with connected(protocol) as (transport, peer):
        peer.send(b"answer")
        reset(peer)
        write_eof(transport)
        assert isinstance(await protocol.lost(), ConnectionResetError)
        assert protocol.received == b"answer"


async def test_a_paused_transport_delivers_it_when_it_reads_again() -> None:
    protocol = Recorder()
    async with connected(protocol) as (transport, peer):
        transport.pause_reading()
        peer.send(b"answer")
        reset(peer)
        write_eof(transport)
        await asyncio.sleep(0.01)
        assert "connection_lost" not in protocol.calls
        transport.resume_reading()
        assert isinstance(await protocol.lost(), ConnectionResetError)
        assert protocol.received == b"answer"


async def test_what_was_written_before_is_tried_first(loop: asyncio.AbstractEventLoop) -> None:
    protocol = Recorder()
    async with connected(protocol) as (transport, peer):
        transport.write(bytes(20_000_000))
        write_eof(transport)
        reset(peer)
        assert isinstance(await protocol.lost(), (ConnectionResetError, BrokenPipeError))


@pytest.mark.edgeloop_only  # asyncio's raises, and keeps the connection until its owner closes it
async def test_after_the_peers_end_nobody_else_would_notice() -> None:
    protocol = Recorder()
    protocol.keep_open = True
    async with connected(protocol) as (transport, peer):
        peer.shutdown(socket.SHUT_WR)
        await protocol.called("eof_received")
        reset(peer)
        transport.write_eof()
        assert isinstance(await protocol.lost(), OSError)
