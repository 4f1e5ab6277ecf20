"""Handshakes that fail: what the caller is told, what the peer is told, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from recording import Recorder, Run, receive_all, record_errors, reset
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import Peer, reason_of

from edgeloop.transports.tls.transport import TLSTransport

versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


async def connect_to(
    peer: Callable[[Any], Any], context: ssl.SSLContext, **arguments: Any
) -> tuple[asyncio.Transport, Recorder]:
    """A client of the loop, whose server is the coroutine function ``peer(sock)``."""
    ours, theirs = tcp_pair()
    with theirs:
        serving = asyncio.ensure_future(peer(theirs))
        try:
            connection = await asyncio.get_running_loop().create_connection(
                Recorder, sock=ours, ssl=context, **{"server_hostname": "localhost", **arguments}
            )
        finally:
            await asyncio.gather(serving, return_exceptions=True)
            await asyncio.sleep(0)
        return connection


def serve(context: ssl.SSLContext) -> Callable[[Any], Any]:
    async def handshake(sock: Any) -> None:
        await Peer(sock, context, server_side=True).handshake()

    return handshake


@versions
@pytest.mark.parametrize(
    ("serving", "trusting", "text"),
    [
        ({}, False, "unable to get local issuer certificate|self.signed certificate"),
        ({"expired": True}, True, "certificate has expired"),
        ({"name": "example.org"}, True, "Hostname mismatch"),
    ],
    ids=["unknown authority", "expired", "wrong host name"],
)
async def test_a_certificate_that_is_wrong(version: str, serving: dict[str, Any], trusting: bool, text: str) -> None:
    names = (serving["name"],) if "name" in serving else ()
    context = server_context(*names, version=version, expired=serving.get("expired", False))

    errors = record_errors(asyncio.get_running_loop())
    with pytest.raises(ssl.SSLCertVerificationError, match=text):
        await connect_to(serve(context), client_context(version=version, trusting=trusting))
    assert errors == []


@pytest.mark.edgeloop_only
def test_the_server_learns_why_its_certificate_was_refused(run: Run) -> None:
    reasons: list[str] = []

    async def peer(sock: Any) -> None:
        # With TLS 1.2 the server's handshake isn't over when the client has seen the certificate.
        try:
            await Peer(sock, server_context(expired=True, version="TLSv1.2"), server_side=True).handshake()
        except ssl.SSLError as exc:
            reasons.append(reason_of(exc))

    async def main() -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect_to(peer, client_context())

    run(main())
    # The names of OpenSSL 3 and before.
    assert reasons in (["SSLV3_ALERT_CERTIFICATE_EXPIRED"], ["SSL/TLS_ALERT_CERTIFICATE_EXPIRED"])


async def test_garbage_instead_of_a_handshake() -> None:
    async def peer(sock: Any) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await receive_all(sock)

    with pytest.raises(ssl.SSLError, match=r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE"):
        await connect_to(peer, client_context())


def test_garbage_sent_to_a_server(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    protocols: list[Recorder] = []

    def accept() -> Recorder:
        protocols.append(Recorder())
        return protocols[-1]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        errors = record_errors(loop)
        server = await loop.create_server(accept, "127.0.0.1", 0, ssl=server_context())
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        # The server is none the worse for it.
        transport, _ = await loop.create_connection(Recorder, "localhost", port, ssl=client_context())
        transport.close()
        await protocols[1].lost()
        server.close()
        await server.wait_closed()
        assert errors == []
        assert protocols[0].calls == []

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert caplog.records == []


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("after", [0, 1, 100])
async def test_a_server_that_vanishes(how: str, after: int) -> None:
    """``after``: how many bytes of its part of the handshake it still sends."""

    async def peer(sock: Any) -> None:
        loop = asyncio.get_running_loop()
        server = Peer(sock, server_context(), server_side=True)
        server.incoming.write(await loop.sock_recv(sock, 65536))
        with pytest.raises(ssl.SSLWantReadError):
            server.ssl.do_handshake()
        await loop.sock_sendall(sock, server.outgoing.read()[:after])
        if how == "reset":
            reset(sock)
        else:
            server.end()
            await receive_all(sock)

    errors = record_errors(asyncio.get_running_loop())
    with pytest.raises(ConnectionResetError):
        await connect_to(peer, client_context())
    assert errors == []


async def test_a_client_that_vanishes() -> None:
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    for leave in (lambda sock: sock.close(), reset):
        ours, theirs = tcp_pair()
        client = Peer(theirs, client_context(), server_side=False)
        with pytest.raises(ssl.SSLWantReadError):
            client.ssl.do_handshake()
        await client.flush()
        leave(theirs)
        with pytest.raises(ConnectionError):
            await loop.connect_accepted_socket(Recorder, ours, ssl=server_context())
    assert errors == []


async def test_a_handshake_that_takes_too_long() -> None:
    with pytest.raises(ConnectionAbortedError, match=r"SSL handshake is taking longer than 0\.05 seconds"):
        await connect_to(receive_all, client_context(), ssl_handshake_timeout=0.05)


async def test_a_handshake_that_is_cancelled() -> None:
    errors = record_errors(asyncio.get_running_loop())
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(connect_to(receive_all, client_context()), 0.05)
    assert errors == []


async def test_a_server_without_a_context() -> None:
    ours, theirs = tcp_pair()
    with ours, theirs, pytest.raises(ValueError, match="Server side SSL needs a valid SSLContext"):
        await asyncio.get_running_loop().connect_accepted_socket(Recorder, ours, ssl=True)


async def test_a_client_without_a_context_checks_against_the_system() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect_to(serve(server_context()), True)  # type: ignore[arg-type]


async def test_a_client_certificate_that_is_missing() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    with theirs:
        client = Peer(theirs, client_context(version="TLSv1.2"), server_side=False)
        results = await asyncio.gather(
            loop.connect_accepted_socket(Recorder, ours, ssl=server_context(version="TLSv1.2", ask_client=True)),
            client.handshake(),
            return_exceptions=True,
        )
        assert isinstance(results[0], ssl.SSLError)
        assert isinstance(results[1], (ssl.SSLError, ConnectionError))
        await asyncio.sleep(0)


async def test_connection_made_that_raises() -> None:
    class Raising(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise ZeroDivisionError

    protocols: list[Raising] = []

    def make() -> Raising:
        protocols.append(Raising())
        return protocols[-1]

    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    ours, theirs = tcp_pair()
    with theirs:
        peer = Peer(theirs, server_context(), server_side=True)
        results = await asyncio.gather(
            loop.create_connection(make, sock=ours, ssl=client_context(), server_hostname="localhost"),
            peer.handshake(),
            return_exceptions=True,
        )
        assert isinstance(results[0], ZeroDivisionError)
        assert isinstance(await protocols[0].lost(), ZeroDivisionError)
        assert [type(error["exception"]) for error in errors] == [ZeroDivisionError]


def test_debug_mode_tells_of_handshakes(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        transport, _ = await connect_to(serve(server_context()), client_context())
        transport.abort()
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect_to(serve(server_context()), client_context(trusting=False))

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main())
    texts = [record.getMessage() for record in caplog.records]
    for part in ("starts SSL handshake", "SSL handshake took", "SSL handshake failed on verifying the certificate"):
        assert any(part in text for text in texts)


@pytest.mark.edgeloop_only  # asyncio has no transport to abort before connection_made
def test_an_abort_by_a_callback_in_the_last_step_of_the_handshake_is_the_end(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = tcp_pair()
        made: list[TLSTransport] = []

        def abort(*arguments: Any) -> None:
            if arguments[1] == "write" and getattr(arguments[4], "name", "") == "FINISHED":
                made[0].abort()

        context = client_context(version="TLSv1.3")
        context._msg_callback = abort  # type: ignore[attr-defined]
        protocol, waiter = Recorder(), loop.create_future()
        made.append(TLSTransport(loop, protocol, context, waiter, server_hostname="localhost"))
        tls: Any = made[0]._ssl_protocol
        with theirs:
            peer = Peer(theirs, server_context(version="TLSv1.3"), server_side=True)
            handshake = asyncio.ensure_future(peer.handshake())
            await loop.create_connection(lambda: tls, sock=ours)
            with pytest.raises(ConnectionAbortedError):
                await waiter
            handshake.cancel()
            await asyncio.gather(handshake, return_exceptions=True)
        assert not protocol.calls

    run(main())
