"""Servers behind a proxy: ``proxy_protocol=`` of create_server and create_unix_server, on real connections."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from pathlib import Path
from typing import Any

import pytest
from proxy_headers import CLIENT, DESTINATION, V1, ipv4, names, served, tlv, v2
from recording import BufferRecorder, Echo, Recorder, receive_all, record_errors, reset, until
from tls_certificates import client_context, server_context
from tls_peer import Peer

from edgeloop.serving import proxy_protocol

pytestmark = pytest.mark.edgeloop_only

TRUSTED = ["127.0.0.1"]
V2 = v2(ipv4() + tlv(0x02, b"example.org"))


class Small(BufferRecorder):
    size = 3


class Named(Recorder):
    """Remembers what it was called as when it was connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.names = names(self)
        self.header = transport.get_extra_info("proxy_protocol")


async def made(server: Any, count: int = 1) -> Any:
    """The protocol of the server's connection, when it is connected."""
    await until(lambda: len(server.made) >= count and bool(server.made[count - 1].calls))
    return server.made[count - 1]


async def say(client: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(client, data)


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_the_client_is_the_one_the_proxy_speaks_for(header: bytes) -> None:
    async with served(Named, TRUSTED) as server:
        with await server.client() as client:
            await say(client, header + b"glued")
            protocol = await made(server)
            assert await protocol.bytes_in(5) == b"glued"
            assert protocol.names == names(protocol) == (CLIENT, DESTINATION)
            assert protocol.header.source == CLIENT
            assert protocol.header.tlvs == (() if header is V1 else ((0x02, b"example.org"),))
            assert protocol.calls[0] == "connection_made"
            assert protocol.transport.get_extra_info("socket").getsockname() == server.address


@pytest.mark.parametrize("factory", [Recorder, Small], ids=["protocol", "buffered"])
@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_a_header_may_be_split_at_every_byte(header: bytes, factory: Any) -> None:
    """What follows begins after it, wherever it is cut."""
    async with served(factory, TRUSTED) as server:
        whole = header + b"data"
        clients = []
        for _ in range(len(whole) - 1):
            clients.append(await server.client())
        for cut, client in enumerate(clients, 1):
            await say(client, whole[:cut])
        await until(lambda: len(server.made) == len(clients))
        await asyncio.sleep(0.01)
        for cut, client in enumerate(clients, 1):
            await say(client, whole[cut:])
        for protocol in server.made:
            await until(lambda protocol=protocol: len(protocol.calls) > 0)  # type: ignore[misc]
            assert await protocol.bytes_in(4) == b"data"
            assert names(protocol) == (CLIENT, DESTINATION)
        for client in clients:
            client.close()


@pytest.mark.parametrize("factory", [Recorder, Small], ids=["protocol", "buffered"])
@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_a_header_may_come_byte_by_byte(header: bytes, factory: Any) -> None:
    async with served(factory, TRUSTED) as server:
        with await server.client() as client:
            for byte in header + b"data":
                await say(client, bytes([byte]))
                await asyncio.sleep(0)
            protocol = await made(server)
            assert await protocol.bytes_in(4) == b"data"


async def test_much_behind_a_header_arrives_whole() -> None:
    data = random.Random(7).randbytes(3_000_000)
    async with served(Recorder, TRUSTED) as server:
        with await server.client() as client:
            await say(client, V2 + data)
            protocol = await made(server)
            assert await protocol.bytes_in(len(data)) == data


async def test_headers_cut_at_random_places_are_followed_by_the_same_bytes() -> None:
    dice = random.Random(11)
    async with served(Recorder, TRUSTED) as server:
        for count in range(1, 41):
            value = dice.randbytes(dice.choice((0, 20, 3000, 9000)))
            header = dice.choice((V1, v2(ipv4() + tlv(0xE1, value))))
            rest = dice.randbytes(dice.randrange(5000))
            whole = header + rest
            with await server.client() as client:
                while whole:
                    size = dice.choice((1, 7, 100, 4096, 4097, 20000))
                    await say(client, whole[:size])
                    whole = whole[size:]
                    if dice.random() < 0.3:
                        await asyncio.sleep(0)
                client.shutdown(socket.SHUT_WR)
                protocol = await made(server, count)
                await protocol.lost()
                assert protocol.received == rest
                assert protocol.calls[0] == "connection_made" and protocol.calls[-1] == "connection_lost"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(b"", 0, 0x20), v2(b"", 0)], ids=["v1", "local", "unspec"])
async def test_a_proxy_that_names_nobody_is_the_peer_itself(header: bytes) -> None:
    async with served(Named, TRUSTED) as server:
        with await server.client() as client:
            await say(client, header)
            protocol = await made(server)
            assert protocol.names == (client.getsockname(), server.address)
            assert protocol.header.source is None


async def test_a_unix_client_of_a_proxy_is_named_by_its_path() -> None:
    header = v2(b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0"), 0x31)
    async with served(Named, TRUSTED) as server:
        with await server.client() as client:
            await say(client, header)
            assert (await made(server)).names == ("/run/client", "/run/server")


async def test_a_proxy_on_a_unix_socket_is_trusted_if_unix_is(tmp_path: Path) -> None:
    async with served(Named, ["unix"], path=str(tmp_path / "socket")) as server:
        with await server.client() as client:
            await say(client, V1 + b"data")
            protocol = await made(server)
            assert protocol.names == (CLIENT, DESTINATION)
            assert await protocol.bytes_in(4) == b"data"


@pytest.mark.parametrize("trusted", [["10.0.0.0/8", "unix"], []])
async def test_the_bytes_of_a_peer_that_is_not_trusted_are_data(trusted: list[str]) -> None:
    async with served(Named, trusted) as server:
        with await server.client() as client:
            await say(client, V1)
            protocol = await made(server)
            assert await protocol.bytes_in(len(V1)) == V1
            assert protocol.names == (client.getsockname(), server.address)
            assert protocol.header is None


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "tls": b"\x16\x03\x01",
    "too long": b"PROXY UNKNOWN " + b"f" * 200,
    "wrong": b"PROXY TCP4 1 2 3 4\r\nrest",
    "version": v2(ipv4(), command=0x31),
    "short": v2(b"x"),
}


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_ends_the_connection_and_is_reported_in_debug_mode_only(kind: str, debug: bool) -> None:
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    async with served(Recorder, TRUSTED) as server:
        loop.set_debug(debug)
        with await server.client() as client:
            with pytest.raises(ConnectionResetError):
                await say(client, GARBAGE[kind])
                if await loop.sock_recv(client, 100) == b"":
                    raise ConnectionResetError  # nothing was unread: the kernel ends it by FIN
        await until(lambda: not server.server.status().open)
        loop.set_debug(False)
        assert server.made[0].calls == []
    assert [type(error["exception"]) for error in errors] == [proxy_protocol.ProxyProtocolError] * debug


@pytest.mark.parametrize("part", [b"", V1[:1], V1[:-1], V2[:20]])
async def test_a_client_that_ends_within_its_header_was_never_connected(part: bytes) -> None:
    async with served(Recorder, TRUSTED) as server:
        with await server.client() as client:
            await say(client, part)
            client.shutdown(socket.SHUT_WR)
            assert await receive_all(client) == b""
        with await server.client() as client:
            await say(client, part)
            reset(client)
        await until(lambda: len(server.made) == 2 and not server.server.status().open)
        assert [protocol.calls for protocol in server.made] == [[], []]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("part", [b"", V1[:-1], V2[:20]])
async def test_a_client_that_says_nothing_more_is_not_kept(
    part: bytes, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_protocol, "HEADER_SECONDS", 0.02)
    async with served(Recorder, TRUSTED, context=server_context() if secure else None) as server:
        with await server.client() as client:
            await say(client, part)
            assert await receive_all(client) == b""
        await until(lambda: not server.server.status().open)
        assert server.made[0].calls == []


async def test_the_time_for_a_header_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_protocol, "HEADER_SECONDS", 0.05)
    async with served(Recorder, TRUSTED) as server:
        with await server.client() as client:
            await say(client, V1)
            protocol = await made(server)
            await asyncio.sleep(0.1)
            await say(client, b"later")
            assert await protocol.bytes_in(5) == b"later"


@pytest.mark.parametrize("cut", [0, 1, 12, 40, len(V1)])
async def test_tls_begins_behind_the_header(cut: int) -> None:
    async with served(Named, TRUSTED, context=server_context()) as server:
        with await server.client() as client:
            peer = Peer(client, client_context(), server_side=False)
            await say(client, V1[:cut])
            await asyncio.sleep(0.001)
            await say(client, V1[cut:])
            await peer.handshake()
            await peer.send(b"hidden")
            protocol = await made(server)
            assert await protocol.bytes_in(6) == b"hidden"
            assert protocol.names == (CLIENT, DESTINATION)
            assert protocol.header.kind == "TCP4"
            assert protocol.transport.get_extra_info("cipher")


async def test_a_client_hello_glued_to_the_header_is_read_by_tls() -> None:
    async with served(Recorder, TRUSTED, context=server_context()) as server:
        with await server.client() as client:
            peer = Peer(client, client_context(), server_side=False)
            try:
                peer.ssl.do_handshake()
            except Exception:
                await say(client, V2 + peer.outgoing.read())
            await peer.handshake()
            await peer.send(b"hidden")
            assert await (await made(server)).bytes_in(6) == b"hidden"


async def test_servers_of_streams_take_it_too() -> None:
    told = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append((writer.get_extra_info("peername"), await reader.readline()))
        writer.write(b"hello")
        writer.close()

    start_server: Any = asyncio.start_server
    server = await start_server(greet, "127.0.0.1", 0, proxy_protocol=TRUSTED)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(V1 + b"line\n")
        assert await reader.read() == b"hello"
        writer.close()
    assert told == [(CLIENT, b"line\n")]


async def test_a_protocol_that_pauses_when_it_is_connected_gets_nothing_before_it_resumes() -> None:
    class Pausing(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.pause_reading()

    async with served(Pausing, TRUSTED) as server:
        with await server.client() as client:
            await say(client, V1 + b"data")
            protocol = await made(server)
            await asyncio.sleep(0.01)
            assert protocol.calls == ["connection_made"]
            protocol.transport.resume_reading()
            assert await protocol.bytes_in(4) == b"data"


async def test_what_connection_made_raises_is_reported_and_the_connection_goes_on() -> None:
    class Raising(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise LookupError

    errors = record_errors(asyncio.get_running_loop())
    async with served(Raising, TRUSTED) as server:
        with await server.client() as client:
            await say(client, V1 + b"data")
            assert await (await made(server)).bytes_in(4) == b"data"
    assert [error["message"] for error in errors] == ["Fatal error: protocol.connection_made() call failed."]


async def test_a_protocol_that_closes_when_it_is_connected_gets_nothing() -> None:
    class Closing(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.close()

    async with served(Closing, TRUSTED) as server:
        with await server.client() as client:
            await say(client, V1 + b"data")
            protocol = await made(server)
            await protocol.lost()
            assert protocol.calls == ["connection_made", "connection_lost"]


async def test_whom_to_trust_can_change_while_the_server_runs() -> None:
    async with served(Named, []) as server:
        for trusted in (TRUSTED, None, TRUSTED):
            server.server.set_limits(proxy_protocol=trusted)
            count = len(server.made)
            with await server.client() as client:
                await say(client, V1)
                protocol = await made(server, count + 1)
                if trusted is None:
                    assert await protocol.bytes_in(len(V1)) == V1
                assert (protocol.header is None) == (trusted is None)
        with pytest.raises(ValueError, match="proxy_protocol: 'nobody'"):
            server.server.set_limits(proxy_protocol=["nobody"])


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_server_that_closes_its_clients_closes_those_without_a_header_too(secure: bool) -> None:
    async with served(Recorder, TRUSTED, context=server_context() if secure else None) as server:
        with await server.client() as client:
            await say(client, V1[:9])
            await until(lambda: server.server.status().open == 1)
            await asyncio.sleep(0.001)
            server.server.close()
            server.server.close_clients()
            await server.server.wait_closed()
            with pytest.raises(ConnectionResetError):
                if await asyncio.get_running_loop().sock_recv(client, 1) == b"":
                    raise ConnectionResetError


async def test_whom_to_trust_is_checked_when_the_server_is_made() -> None:
    loop: Any = asyncio.get_running_loop()
    for wrong in ("nowhere", "10.0.0.1/8"):
        with pytest.raises(ValueError, match=f"proxy_protocol: '{wrong}'"):
            await loop.create_server(Echo, "127.0.0.1", 0, proxy_protocol=[wrong])
        with pytest.raises(ValueError, match=f"proxy_protocol: '{wrong}'"):
            loop.set_server_limits(proxy_protocol=[wrong])
    with pytest.raises(TypeError, match="proxy_protocol"):
        await loop.create_server(Echo, "127.0.0.1", 0, proxy_protocol="127.0.0.1")


def readers() -> list[Any]:
    return [each for each in gc.get_objects() if type(each) is proxy_protocol.HeaderReader]


@pytest.mark.counts_references
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("said", [V1, V2, b"GET /", v2(b"x"), b""], ids=["v1", "v2", "http", "short", "end"])
async def test_nothing_is_left_of_what_read_the_header(said: bytes, secure: bool) -> None:
    async with served(Recorder, TRUSTED, context=server_context() if secure else None) as server:
        gc.collect()
        gc.disable()
        try:
            with await server.client() as client:
                await until(lambda: len(readers()) == 1)
                await say(client, said)
                client.shutdown(socket.SHUT_WR)
                await until(lambda: not server.server.status().open)
            assert readers() == []
        finally:
            gc.enable()


@pytest.mark.parametrize("way", ["environment", "loop"])
def test_frameworks_that_pass_nothing_on_are_asked_otherwise(
    way: str, monkeypatch: pytest.MonkeyPatch, loop: Any
) -> None:
    if way == "environment":
        monkeypatch.setenv("EDGELOOP_PROXY_PROTOCOL", "127.0.0.1, 10.0.0.0/8")
    else:
        loop.set_server_limits(proxy_protocol=["127.0.0.1"])

    async def main() -> None:
        connected = asyncio.get_running_loop().create_future()

        class Told(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connected.set_result(transport.get_extra_info("peername"))

        server = await loop.create_server(Told, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.send(V1)
            assert await connected == CLIENT
        server.close()
        await server.wait_closed()

    loop.run_until_complete(asyncio.wait_for(main(), 60))
    monkeypatch.setenv("EDGELOOP_PROXY_PROTOCOL", "10.0.0.1/8")
    loop._server_limits = None
    with pytest.raises(ValueError, match=r"EDGELOOP_PROXY_PROTOCOL='10\.0\.0\.1/8'"):
        loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
