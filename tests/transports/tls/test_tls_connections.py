"""TLS through the loop's own calls: who is connected, with what, and that every byte arrives."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recording import BufferRecorder, Echo, Recorder, Run, record_errors
from sockets import tcp_pair
from tls_certificates import VERSIONS, certificate, client_context, server_context
from tls_peer import secured

versions = pytest.mark.parametrize("version", VERSIONS)
sides = pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])


class BufferedEcho(asyncio.BufferedProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = memoryview(bytearray(3000))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]))


async def echo_server(context: ssl.SSLContext, factory: Callable[[], Any] = Echo) -> tuple[asyncio.Server, int]:
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


async def finish(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()


@versions
@pytest.mark.parametrize("factory", [Echo, BufferedEcho])
async def test_a_client_and_a_server_of_the_loop_talk(version: str, factory: Callable[[], Any]) -> None:
    server, port = await echo_server(server_context(version=version), factory)
    reader, writer = await asyncio.open_connection("localhost", port, ssl=client_context(version=version))
    assert writer.get_extra_info("ssl_object").version() == version
    for size in (1, 100, 5000, 16384, 16385, 100_000):
        message = os.urandom(size)
        writer.write(message)
        assert await reader.readexactly(size) == message
    writer.close()
    await writer.wait_closed()
    await finish(server)


@sides
async def test_the_transport_says_what_it_is(server_side: bool) -> None:
    async with secured(Recorder, server_side=server_side) as (transport, protocol, peer):
        assert isinstance(transport, asyncio.Transport)
        assert protocol.transport is transport
        assert transport.get_protocol() is protocol
        assert transport.is_reading()
        assert not transport.is_closing()
        assert not transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        assert isinstance(transport.get_extra_info("sslcontext"), ssl.SSLContext)
        assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
        assert transport.get_extra_info("cipher") == transport.get_extra_info("ssl_object").cipher()
        assert transport.get_extra_info("compression") is None
        names = (transport.get_extra_info("peercert") or {}).get("subjectAltName")
        assert names == (None if server_side else (("DNS", "localhost"), ("IP Address", "127.0.0.1")))
        assert transport.get_extra_info("peername") == peer.sock.getsockname()
        assert transport.get_extra_info("sockname") == peer.sock.getpeername()
        assert transport.get_extra_info("socket").fileno() >= 0
        assert transport.get_extra_info("no such thing", 42) == 42


@pytest.mark.edgeloop_only
async def test_the_peer_is_known_when_the_connection_is_lost() -> None:
    """demand.md: peername None on a connection that is already gone."""

    class Asking(Recorder):
        peername: Any = None

        def connection_lost(self, exc: Exception | None) -> None:
            self.peername = self.transport.get_extra_info("peername")
            super().connection_lost(exc)

    async with secured(Asking) as (_, protocol, peer):
        address = peer.sock.getsockname()
        peer.sock.close()
        await protocol.lost()
        assert protocol.peername == address


async def test_alpn() -> None:
    serving, asking = server_context(), client_context()
    serving.set_alpn_protocols(["h2", "http/1.1"])
    asking.set_alpn_protocols(["http/1.1"])
    server, port = await echo_server(serving)
    transport, _ = await asyncio.get_running_loop().create_connection(Recorder, "localhost", port, ssl=asking)
    assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    transport.abort()
    await finish(server)


@pytest.mark.parametrize(
    ("host", "server_hostname", "told"),
    [("localhost", None, "localhost"), ("127.0.0.1", "localhost", "localhost"), ("127.0.0.1", "", None)],
)
def test_the_server_is_told_the_host_name(run: Run, host: str, server_hostname: str | None, told: str | None) -> None:
    names: list[str | None] = []

    async def main() -> None:
        serving, asking = server_context(), client_context()
        serving.sni_callback = lambda sslobj, name, context: names.append(name)
        asking.check_hostname = server_hostname != ""
        server, port = await echo_server(serving)
        transport, _ = await asyncio.get_running_loop().create_connection(
            Recorder, host, port, ssl=asking, server_hostname=server_hostname
        )
        transport.abort()
        await finish(server)

    run(main())
    assert names == [told]


@versions
async def test_a_client_shows_its_certificate(version: str) -> None:
    protocols: list[Recorder] = []

    def accept() -> Recorder:
        protocols.append(Recorder())
        return protocols[-1]

    asking = client_context(version=version)
    certificate("client@example.org").configure_cert(asking)
    server, port = await echo_server(server_context(version=version, ask_client=True), accept)
    transport, _ = await asyncio.get_running_loop().create_connection(Recorder, "localhost", port, ssl=asking)
    transport.write(b"hello")
    await protocols[0].bytes_in(5)
    shown = protocols[0].transport.get_extra_info("peercert")
    assert ("email", "client@example.org") in shown["subjectAltName"]
    transport.abort()
    await protocols[0].lost()
    await finish(server)


@versions
async def test_a_session_is_taken_up_again(version: str) -> None:
    class Remembering(ssl.SSLContext):
        """asyncio has no argument for a session, but asks the context for the SSL object."""

        last: Any = None

        def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
            return super().wrap_bio(*args, **{**kwargs, "session": self.last})

    server, port = await echo_server(server_context(version=version))
    asking = Remembering(ssl.PROTOCOL_TLS_CLIENT)
    asking.maximum_version = VERSIONS[version]
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    reused = []
    for _ in range(2):
        reader, writer = await asyncio.open_connection("localhost", port, ssl=asking)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"  # with TLS 1.3 the ticket comes before it
        sslobj = writer.get_extra_info("ssl_object")
        reused.append(sslobj.session_reused)
        asking.last = sslobj.session
        writer.close()
        await writer.wait_closed()
    assert reused == [False, True]
    await finish(server)


async def test_unix_sockets(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    server = await loop.create_unix_server(Echo, path, ssl=server_context())
    transport, protocol = await loop.create_unix_connection(
        Recorder, path, ssl=client_context(), server_hostname="localhost"
    )
    transport.write(b"hello")
    assert await protocol.bytes_in(5) == b"hello"
    transport.close()
    await protocol.lost()
    await finish(server)


@sides
async def test_a_protocol_is_replaced(server_side: bool) -> None:
    async with secured(Recorder, server_side=server_side) as (transport, first, peer):
        await peer.send(b"one")
        await first.bytes_in(3)
        second = BufferRecorder()
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        await peer.send(b"two" * 1000)
        assert await second.bytes_in(3000) == b"two" * 1000
        assert first.received == b"one"
        peer.end()
        await second.lost()
        assert "connection_lost" not in first.calls


@versions
async def test_twenty_megabytes_both_ways(version: str) -> None:
    block = os.urandom(1 << 20)
    blocks = 20

    async def swap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        async def send() -> None:
            for number in range(blocks):
                writer.write(block[number:] + block[:number])
                await writer.drain()

        sending = asyncio.ensure_future(send())
        digest = hashlib.sha256()
        left = blocks * len(block)
        while left:
            data = await reader.read(1 << 20)
            assert data
            digest.update(data)
            left -= len(data)
        await sending
        return digest.hexdigest()

    served: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.set_result(await swap(reader, writer))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(version=version))
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("localhost", port, ssl=client_context(version=version))
    expected = hashlib.sha256()
    for number in range(blocks):
        expected.update(block[number:] + block[:number])
    assert await swap(reader, writer) == expected.hexdigest()
    assert await served == expected.hexdigest()
    writer.close()
    await writer.wait_closed()
    await finish(server)


async def test_a_hundred_connections_at_once() -> None:
    serving, asking = server_context(), client_context()
    server, port = await echo_server(serving)

    async def talk(number: int) -> None:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=asking)
        message = str(number).encode() * 1000
        for _ in range(3):
            writer.write(message)
            assert await reader.readexactly(len(message)) == message
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(talk(number) for number in range(100)))
    await finish(server)


@pytest.mark.edgeloop_only
async def test_an_idle_connection_keeps_no_read_buffer() -> None:
    """demand.md: 256 KiB buffer for each TLS connection. Both ends are ours: less than 32 KiB for each of them."""
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has none")
    count = 50

    server, port = await echo_server(server_context())
    asking = client_context()
    pairs = [await asyncio.open_connection("localhost", port, ssl=asking)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(count):
            reader, writer = await asyncio.open_connection("localhost", port, ssl=asking)
            writer.write(bytes(100_000))
            await reader.readexactly(100_000)
            pairs.append((reader, writer))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown / count < 2 * 32768
    for _, writer in pairs:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in pairs))
    await finish(server)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"host": "localhost", "port": 1, "server_hostname": "x"}, ValueError, "server_hostname is only meaningful"),
        ({"host": "localhost", "port": 1, "ssl_handshake_timeout": 1}, ValueError, "ssl_handshake_timeout is only"),
        ({"host": "localhost", "port": 1, "ssl_shutdown_timeout": 1}, ValueError, "ssl_shutdown_timeout is only"),
        ({"ssl": True}, ValueError, "You must set server_hostname when using ssl without a host"),
    ],
)
async def test_arguments_of_create_connection(arguments: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        await asyncio.get_running_loop().create_connection(Recorder, **arguments)


async def test_arguments_of_the_other_calls() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
        await loop.create_server(Recorder, "127.0.0.1", 0, ssl=True)
    with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
        await loop.create_unix_server(Recorder, "/nowhere", ssl=True)
    with pytest.raises(ValueError, match="you have to pass server_hostname when using ssl"):
        await loop.create_unix_connection(Recorder, "/nowhere", ssl=client_context())
    ours, theirs = tcp_pair()
    with ours, theirs, pytest.raises(ValueError, match="ssl_handshake_timeout is only meaningful with ssl"):
        await loop.connect_accepted_socket(Recorder, ours, ssl_handshake_timeout=1)


@pytest.mark.edgeloop_only  # asyncio connects first, and then misses an attribute
@pytest.mark.parametrize("wrong", ["cert.pem", 1, {"ca": "ca.pem"}], ids=repr)
async def test_what_is_no_context_is_refused_before_anything_is_connected(wrong: Any) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(TypeError, match="ssl argument must be an SSLContext, a bool or None, got "):
        await loop.create_connection(Recorder, "nobody.invalid", 1, ssl=wrong)
    with pytest.raises(TypeError, match="ssl argument must be an SSLContext, a bool or None, got "):
        await loop.create_unix_connection(Recorder, "/nowhere", ssl=wrong, server_hostname="x")
    ours, theirs = tcp_pair()
    with ours, theirs, pytest.raises(TypeError, match="ssl argument must be an SSLContext, a bool or None, got "):
        await loop.connect_accepted_socket(Recorder, ours, ssl=wrong)


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
@pytest.mark.parametrize("value", [0, -1])
async def test_a_time_limit_must_be_positive(name: str, value: int) -> None:
    limits: dict[str, Any] = {name: value}

    ours, theirs = tcp_pair()
    with ours, theirs, pytest.raises(ValueError, match=f"{name} should be a positive number, got {value}"):
        await asyncio.get_running_loop().create_connection(
            Recorder, sock=ours, ssl=client_context(), server_hostname="localhost", **limits
        )


async def test_a_server_closes_its_clients() -> None:
    if not hasattr(asyncio.Server, "close_clients"):
        pytest.skip("Server.close_clients is there from Python 3.13 on")
    errors = record_errors(asyncio.get_running_loop())
    server, port = await echo_server(server_context())
    reader, writer = await asyncio.open_connection("localhost", port, ssl=client_context())
    writer.write(b"x")
    await reader.readexactly(1)
    server.close()
    server.close_clients()  # type: ignore[attr-defined]
    assert await reader.read() == b""
    writer.close()
    await server.wait_closed()
    assert errors == []


@pytest.mark.fair_weather  # abort() drops what the kernel has not taken
@pytest.mark.edgeloop_only
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
async def test_a_closed_client_of_a_server_gets_a_close_notify(how: str) -> None:
    server, port = await echo_server(server_context())
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    from tls_peer import Peer

    with sock:
        peer = Peer(sock, client_context(), server_side=False)
        await peer.handshake()
        await peer.send(b"x")
        assert await peer.receive(1) == b"x"
        getattr(server, how)()
        if how == "close_clients":
            assert await peer.receive_all() == b""
        else:
            with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
                await peer.receive_all()
    await finish(server)
