"""start_tls: putting TLS on a connection that is there, also on one that has TLS already, and on another loop's."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, receive, record_errors
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import Peer

StartTLS = Callable[..., Any]


@pytest.fixture(params=["the loop under test", "asyncio's loop"])
def over(request: pytest.FixtureRequest) -> str:
    """Whose transports TLS is put on: our engine must work over the standard loop's too."""
    return str(request.param)


@pytest.fixture
def loop(over: str, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.SelectorEventLoop() if over == "asyncio's loop" else loop_factory()
    yield loop
    loop.close()


@pytest.fixture
def start_tls(over: str, loop: asyncio.AbstractEventLoop) -> StartTLS:
    if over != "asyncio's loop":
        return loop.start_tls
    from edgeloop.transports.tls.start import start_tls

    return functools.partial(start_tls, loop)


class ViewRecorder(BufferRecorder):
    """asyncio's own TLS reads a second record into a copy of a bytearray, but not of a memoryview."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = memoryview(bytearray(self.size))  # type: ignore[assignment]


@contextlib.asynccontextmanager
async def plain(factory: Callable[[], Any]) -> AsyncIterator[tuple[asyncio.Transport, Any, Any]]:
    """A plain connection: transport, protocol, and the socket at the other end."""
    ours, theirs = tcp_pair()
    with theirs:
        transport, protocol = await asyncio.get_running_loop().create_connection(factory, sock=ours)
        try:
            yield transport, protocol, theirs
        finally:
            transport.abort()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
@pytest.mark.parametrize("factory", [Recorder, ViewRecorder])
async def test_an_upgrade(start_tls: StartTLS, server_side: bool, factory: Callable[[], Any]) -> None:
    async with plain(factory) as (transport, protocol, sock):
        transport.write(b"STARTTLS\n")
        assert await receive(sock, 9) == b"STARTTLS\n"
        contexts = client_context(), server_context()
        peer = Peer(sock, contexts[not server_side], server_side=not server_side)
        hostname = None if server_side else "localhost"
        upgraded, _ = await asyncio.gather(
            start_tls(transport, protocol, contexts[server_side], server_side=server_side, server_hostname=hostname),
            peer.handshake(),
        )
        assert isinstance(upgraded, asyncio.Transport)
        assert upgraded is not transport
        held: Any = upgraded.get_protocol()
        assert held is protocol
        assert upgraded.get_extra_info("ssl_object") is not None
        data = os.urandom(200_000)
        sending = asyncio.ensure_future(peer.send(data))
        assert await protocol.bytes_in(len(data)) == data
        await sending
        upgraded.write(data)
        assert await peer.receive(len(data)) == data
        upgraded.close()
        await peer.send_close_notify()
        assert await protocol.lost() is None
        assert protocol.calls.count("connection_made") == 1  # the plain one: no second


async def test_tls_in_tls(start_tls: StartTLS) -> None:
    """Twice TLS at both ends, all four of them the loop's; the last to upgrade waits for the other's handshake."""
    data = os.urandom(1_000_000)

    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    (client, asking), (server, serving) = await asyncio.gather(
        loop.create_connection(Recorder, sock=ours), loop.create_connection(Recorder, sock=theirs)
    )
    for _ in range(2):
        client, server = await asyncio.gather(
            start_tls(client, asking, client_context(), server_hostname="localhost"),
            start_tls(server, serving, server_context(), server_side=True),
        )
    assert isinstance(client, asyncio.Transport)
    assert client.get_extra_info("peername") == server.get_extra_info("sockname")
    client.write(data)
    assert await serving.bytes_in(len(data)) == data
    server.write(data)
    assert await asking.bytes_in(len(data)) == data
    assert asking.calls.count("connection_made") == 1
    client.write(b"last words")
    client.close()
    assert await serving.lost() is None
    assert await asking.lost() is None
    assert serving.received.endswith(b"last words")


async def test_wrong_arguments(start_tls: StartTLS) -> None:
    with pytest.raises(TypeError, match=r"sslcontext is expected to be an instance of ssl\.SSLContext, got None"):
        await start_tls(None, None, None)
    with pytest.raises(TypeError, match=r"transport None is not supported by start_tls\(\)"):
        await start_tls(None, None, client_context())
    async with plain(Recorder) as (transport, protocol, _):
        with pytest.raises(ValueError, match="ssl_handshake_timeout should be a positive number, got -1"):
            await start_tls(transport, protocol, client_context(), server_hostname="x", ssl_handshake_timeout=-1)


async def test_a_failed_handshake_closes_the_connection(start_tls: StartTLS) -> None:
    errors = record_errors(asyncio.get_running_loop())
    async with plain(Recorder) as (transport, protocol, sock):
        peer = Peer(sock, server_context(), server_side=True)
        results = await asyncio.gather(
            start_tls(transport, protocol, client_context(trusting=False), server_hostname="localhost"),
            peer.handshake(),
            return_exceptions=True,
        )
        assert isinstance(results[0], ssl.SSLCertVerificationError)
        assert transport.is_closing()
        assert isinstance(await protocol.lost(), ssl.SSLCertVerificationError)
    assert errors == []


async def test_a_cancelled_upgrade_closes_the_connection(start_tls: StartTLS) -> None:
    errors = record_errors(asyncio.get_running_loop())
    for patience in (None, 0.05):
        async with plain(Recorder) as (transport, protocol, _):
            upgrade = asyncio.ensure_future(
                start_tls(transport, protocol, client_context(), server_hostname="localhost")
            )
            await asyncio.sleep(patience or 0)
            upgrade.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upgrade
            assert transport.is_closing()
            await asyncio.sleep(0.01)
    assert errors == []


@pytest.mark.edgeloop_only
async def test_a_connection_that_is_lost_is_not_upgraded(start_tls: StartTLS) -> None:
    async with plain(Recorder) as (transport, protocol, _):
        transport.close()
        await protocol.lost()
        with pytest.raises(ConnectionAbortedError):
            await start_tls(transport, protocol, client_context(), server_hostname="localhost")


async def test_a_connection_just_closed_gives_none(start_tls: StartTLS) -> None:
    """As asyncio has it; aiohttp asks for it."""
    async with plain(Recorder) as (transport, protocol, _):
        transport.close()
        assert await start_tls(transport, protocol, client_context(), server_hostname="localhost") is None


async def test_the_context_where_aiohttp_looks_for_it(start_tls: StartTLS) -> None:
    async with plain(Recorder) as (transport, protocol, sock):
        peer = Peer(sock, server_context(), server_side=True)
        context = client_context()
        upgraded, _ = await asyncio.gather(
            start_tls(transport, protocol, context, server_hostname="localhost"), peer.handshake()
        )
        found = getattr(upgraded, "_sslcontext", None) or upgraded._ssl_protocol._sslcontext
        assert found is context
        assert upgraded.get_extra_info("sslcontext") is context
