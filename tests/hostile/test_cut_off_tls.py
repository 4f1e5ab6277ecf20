"""Peers that vanish: by a reset in each state of a TLS connection, or by an end without close_notify."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from typing import Any

import pytest
from forged_tls import plain_hello, record
from recording import Recorder, record_errors, reset, turns, until
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import Peer, secured

sides = pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
LARGE = 3_000_000


async def first_flight(peer: Peer) -> bytes:
    """What the peer would send first."""
    while True:
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.ssl.do_handshake()
        if data := peer.outgoing.read():
            return data
        peer.incoming.write(await asyncio.get_running_loop().sock_recv(peer.sock, 65536))


@sides
@versions
@pytest.mark.parametrize("part", [0, 0.5, 1], ids=["before it", "in its middle", "after a flight"])
async def test_a_reset_in_the_handshake(server_side: bool, version: str, part: float) -> None:
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    ours, theirs = tcp_pair()
    contexts = client_context(version=version), server_context(version=version)
    protocol = Recorder()

    async def vanish() -> None:
        peer = Peer(theirs, contexts[not server_side], server_side=not server_side)
        flight = await first_flight(peer) if part else b""
        await loop.sock_sendall(theirs, flight[: int(len(flight) * part)])
        reset(theirs)

    if server_side:
        connect: Any = loop.connect_accepted_socket(lambda: protocol, ours, ssl=contexts[1])
    else:
        connect = loop.create_connection(lambda: protocol, sock=ours, ssl=contexts[0], server_hostname="localhost")
    vanishing = asyncio.ensure_future(vanish())
    try:
        await connect
    except OSError as exc:
        failure: OSError | None = exc
    else:
        failure = None
    await vanishing
    if failure is not None:
        assert isinstance(failure, ConnectionError)
        assert protocol.calls == []
    else:  # a client whose handshake ends with the server's flight
        assert isinstance(await protocol.lost(), ConnectionError)
        assert protocol.calls == ["connection_made", "connection_lost"]
    await turns()
    assert errors == []


@pytest.mark.edgeloop_only  # asyncio notices it only at the end of ssl_shutdown_timeout, or never, in three of these states
@sides
@versions
@pytest.mark.parametrize("state", ["open", "writing", "paused", "flushing", "shutdown"])
async def test_a_reset_behind_the_handshake(server_side: bool, version: str, state: str) -> None:
    """connection_lost comes once and last; nothing is reported, and nothing that was written keeps the loop."""
    errors = record_errors(asyncio.get_running_loop())
    async with secured(Recorder, server_side=server_side, version=version, send_buffer=65536) as (
        transport,
        protocol,
        peer,
    ):
        if state in ("writing", "flushing"):
            transport.write(bytes(LARGE))
            await protocol.called("pause_writing")
        if state == "paused":
            transport.pause_reading()
        if state in ("flushing", "shutdown"):
            transport.close()
        reset(peer.sock)
        if state == "paused":
            await turns()
            transport.resume_reading()
        error = await protocol.lost()
        assert isinstance(error, ConnectionError) or (error is None and transport.is_closing())
        assert protocol.calls[-1] == "connection_lost"
        assert protocol.calls.count("connection_lost") == 1
        assert transport.get_write_buffer_size() == 0
    assert errors == []


@sides
@versions
@pytest.mark.parametrize("cut", [0, 1, 5, 20, -1])
async def test_an_end_within_a_record(server_side: bool, version: str, cut: int) -> None:
    """As on asyncio, it is the end of the data: who must know whether all came says so in the data."""
    async with secured(Recorder, server_side=server_side, version=version) as (_, protocol, peer):
        await peer.send(b"whole")
        peer.ssl.write(b"never whole")
        await asyncio.get_running_loop().sock_sendall(peer.sock, peer.outgoing.read()[:cut])
        peer.end()
        assert await protocol.lost() is None
        assert protocol.received == b"whole"
        assert protocol.calls[-2:] == ["eof_received", "connection_lost"]


@sides
async def test_who_knows_the_length_learns_that_data_is_missing(server_side: bool, streams: Any) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    contexts = client_context(), server_context()
    reader = streams.StreamReader(65536, loop)
    factory = lambda: streams.StreamReaderProtocol(reader, loop=loop)  # noqa: E731
    with theirs:
        peer = Peer(theirs, contexts[not server_side], server_side=not server_side)
        if server_side:
            connect: Any = loop.connect_accepted_socket(factory, ours, ssl=contexts[1])
        else:
            connect = loop.create_connection(factory, sock=ours, ssl=contexts[0], server_hostname="localhost")
        (transport, _), _ = await asyncio.gather(connect, peer.handshake())
        await peer.send(b"12345")
        peer.end()
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(6)
        transport.abort()
        await turns()


HELLO = plain_hello()


def connect_only(sock: socket.socket) -> None:
    """It says nothing, and stays."""


def half_a_hello(sock: socket.socket) -> None:
    sock.sendall(HELLO[:100])


def hello(sock: socket.socket) -> None:
    sock.sendall(HELLO)


def hello_and_garbage(sock: socket.socket) -> None:
    sock.sendall(HELLO + record(23, os.urandom(1000)))


def leave(sock: socket.socket) -> None:
    sock.close()


def hello_and_leave(sock: socket.socket) -> None:
    hello(sock)
    sock.close()


def hello_and_reset(sock: socket.socket) -> None:
    hello(sock)
    reset(sock)


@pytest.mark.parametrize(
    "attack",
    [connect_only, half_a_hello, hello, hello_and_garbage, leave, reset, hello_and_leave, hello_and_reset],
)
async def test_a_flood_of_handshakes_leaves_room_for_others(attack: Any) -> None:
    """Sixty come, then one who means it; when all have gone, the server has forgotten them."""
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await loop.create_server(make, "127.0.0.1", 0, ssl=server_context(), backlog=100)
    address = server.sockets[0].getsockname()
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            attack(stack.enter_context(socket.create_connection(address)))
        transport, protocol = await loop.create_connection(
            Recorder, *address, ssl=client_context(), server_hostname="localhost"
        )
        transport.write(b"hello")
        await until(lambda: any(one.received == b"hello" for one in made))
        transport.close()
        assert await protocol.lost() is None
    server.close()
    await server.wait_closed()
    assert sum("connection_made" in one.calls for one in made) == 1
    assert errors == []
