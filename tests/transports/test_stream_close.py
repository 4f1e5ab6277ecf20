"""The end of a stream transport: close, abort, what is still readable of it, and connection_lost exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import warnings
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import Any

import pytest
from recording import Recorder, connected, receive_all, reset


async def test_close(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        assert not transport.is_closing()
        transport.close()
        assert transport.is_closing()
        assert protocol.calls == ["connection_made"]
        assert await protocol.lost() is None
        assert await receive_all(peer) == b""


async def test_abort(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        transport.write(bytes(20_000_000))
        transport.abort()
        assert transport.is_closing()
        assert transport.get_write_buffer_size() == 0
        assert protocol.calls[-1] != "connection_lost"
        assert await protocol.lost() is None
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := await loop.sock_recv(peer, 1 << 20):
                received += len(part)
        assert received < 20_000_000


@pytest.mark.parametrize(
    "ends",
    [
        ["close", "close"],
        ["abort", "abort"],
        ["close", "abort"],
        ["abort", "close"],
        ["close", "write_eof", "abort", "close"],
        ["write_eof", "close", "abort"],
    ],
    ids="-".join,
)
@pytest.mark.parametrize("pending", [0, 5_000_000])
async def test_connection_lost_once(loop: asyncio.AbstractEventLoop, ends: list[str], pending: int) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        transport.write(bytes(pending))
        for end in ends:
            getattr(transport, end)()
        if "abort" not in ends:
            assert len(await receive_all(peer)) == pending
        assert await protocol.lost() is None
        await asyncio.sleep(0.002)
        assert protocol.calls.count("connection_lost") == 1
        transport.close()


async def test_close_while_the_peer_closes(loop: asyncio.AbstractEventLoop) -> None:
    for _ in range(30):
        async with connected(Recorder) as (transport, protocol, peer):
            peer.close()
            transport.write(b"x")
            await asyncio.sleep(0)
            transport.close()
            transport.write(b"y")
            await protocol.lost()
            await asyncio.sleep(0)
            assert protocol.calls.count("connection_lost") == 1


async def test_close_flushes_20_mb_to_a_slow_reader(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        data = bytes(range(256)) * 80_000
        transport.write(data)
        transport.close()
        assert "connection_lost" not in protocol.calls
        received = bytearray()
        while part := await loop.sock_recv(peer, 500_000):
            received += part
            if len(received) < 3_000_000:
                await asyncio.sleep(0.002)
        assert received == data
        assert await protocol.lost() is None


async def test_a_closing_transport_reads_no_more(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder, send_buffer=8192) as (transport, protocol, peer):
        transport.write(bytes(1_000_000))
        transport.close()
        peer.send(b"not read")
        await asyncio.sleep(0.005)
        assert protocol.received == b""
        assert "connection_lost" not in protocol.calls
        transport.abort()
        await protocol.lost()


async def test_abort_while_close_flushes(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, _):
        transport.write(bytes(20_000_000))
        transport.close()
        await asyncio.sleep(0.002)
        assert "connection_lost" not in protocol.calls
        transport.abort()
        assert await protocol.lost() is None
        assert protocol.calls.count("connection_lost") == 1


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("callback", ["connection_made", "data_received", "eof_received", "connection_lost"])
async def test_end_from_within_a_callback(loop: asyncio.AbstractEventLoop, end: str, callback: str) -> None:
    class Ends(Recorder):
        def note(self, call: str) -> None:
            super().note(call)
            if call == callback:
                before = len(self.calls)
                if call != "connection_lost":
                    getattr(self.transport, end)()
                assert len(self.calls) == before

    ours, theirs = socket.socketpair()
    with theirs:
        theirs.send(b"data")
        theirs.shutdown(socket.SHUT_WR)
        _, protocol = await loop.create_connection(Ends, sock=ours)
        await protocol.lost()
        await asyncio.sleep(0.002)
        expected = ["connection_made", "data_received", "eof_received"]
        if callback in expected:
            expected = expected[: expected.index(callback) + 1]
        assert protocol.calls == [*expected, "connection_lost"]


async def test_connection_lost_comes_a_turn_after_close(loop: asyncio.AbstractEventLoop) -> None:
    order: list[str] = []

    class Ordered(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            order.append("lost")
            super().connection_lost(exc)

    async with connected(Ordered) as (transport, protocol, _):
        loop.call_soon(order.append, "scheduled before close")
        transport.close()
        order.append("after close")
        await protocol.lost()
        assert order == ["after close", "scheduled before close", "lost"]


async def test_the_socket_is_open_during_connection_lost_and_closed_after(loop: asyncio.AbstractEventLoop) -> None:
    numbers: list[int] = []

    class Looks(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            numbers.append(self.transport.get_extra_info("socket").fileno())
            super().connection_lost(exc)

    async with connected(Looks) as (transport, protocol, _):
        sock = transport.get_extra_info("socket")
        number = sock.fileno()
        transport.close()
        await protocol.lost()
        assert numbers == [number]
        assert sock.fileno() == -1


async def test_extra_info(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        sock = transport.get_extra_info("socket")
        assert isinstance(sock, TransportSocket)
        assert sock.getpeername() == peer.getsockname()
        assert sock.getsockname() == peer.getpeername()
        assert sock.type == socket.SOCK_STREAM
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport.get_extra_info("sockname") == peer.getpeername()
        assert transport.get_extra_info("unknown") is None
        assert transport.get_extra_info("unknown", 42) == 42
        assert transport.get_extra_info("sslcontext") is None
        addresses = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        transport.close()
        await protocol.lost()
        assert (transport.get_extra_info("peername"), transport.get_extra_info("sockname")) == addresses


async def test_peername_of_a_connection_that_is_already_gone(loop: asyncio.AbstractEventLoop) -> None:
    """The address is what accept gave; asking a reset socket would give ENOTCONN."""
    protocols: list[Recorder] = []

    def factory() -> Recorder:
        protocols.append(Recorder())
        return protocols[-1]

    async with await loop.create_server(factory, "127.0.0.1", 0) as server:
        client = socket.create_connection(server.sockets[0].getsockname())
        address = client.getsockname()
        reset(client)
        while not protocols:
            await asyncio.sleep(0.001)
        await protocols[0].lost()
        assert protocols[0].transport.get_extra_info("peername") == address


async def test_repr(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, _):
        number = transport.get_extra_info("socket").fileno()
        assert f"fd={number}" in repr(transport)
        assert "read=polling" in repr(transport)
        assert "write=<idle, bufsize=0>" in repr(transport)
        transport.pause_reading()
        assert "read=polling" not in repr(transport)
        transport.close()
        assert " closing " in repr(transport)
        await protocol.lost()
        assert " closed " in repr(transport)


async def test_transport_type(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, _):
        anything: Any = transport
        for kind in (asyncio.Transport, asyncio.ReadTransport, asyncio.WriteTransport, asyncio.BaseTransport):
            assert isinstance(anything, kind)
        assert not isinstance(anything, asyncio.DatagramTransport)
        assert transport.get_protocol() is protocol


AFTER: dict[str, Callable[[asyncio.Transport], object]] = {
    "close": lambda transport: transport.close(),
    "is_closing": lambda transport: transport.is_closing(),
    "is_reading": lambda transport: transport.is_reading(),
    "pause_reading": lambda transport: transport.pause_reading(),
    "resume_reading": lambda transport: transport.resume_reading(),
    "write": lambda transport: transport.write(b"late"),
    "write_eof": lambda transport: transport.write_eof(),
    "can_write_eof": lambda transport: transport.can_write_eof(),
    "get_write_buffer_size": lambda transport: transport.get_write_buffer_size(),
    "get_write_buffer_limits": lambda transport: transport.get_write_buffer_limits(),
    "set_write_buffer_limits": lambda transport: transport.set_write_buffer_limits(high=1),
    "get_protocol": lambda transport: transport.get_protocol(),
    "get_extra_info": lambda transport: transport.get_extra_info("socket"),
    "repr": repr,
}


@pytest.mark.parametrize("use", AFTER.values(), ids=AFTER)
async def test_a_closed_transport_answers_everything(
    loop: asyncio.AbstractEventLoop, use: Callable[[asyncio.Transport], object]
) -> None:
    async with connected(Recorder) as (transport, protocol, _):
        transport.close()
        await protocol.lost()
        await asyncio.sleep(0)
        use(transport)
        assert protocol.calls.count("connection_lost") == 1


async def test_closing_many_connections(loop: asyncio.AbstractEventLoop) -> None:
    protocols: list[Recorder] = []

    def factory() -> Recorder:
        protocols.append(Recorder())
        return protocols[-1]

    async with await loop.create_server(factory, "127.0.0.1", 0, backlog=300) as server:
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(200)]
        while len(protocols) < 200:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        for number, (client, protocol) in enumerate(zip(clients, list(protocols), strict=True)):
            if number % 2:
                client.close()
            else:
                protocol.transport.close()
        for protocol in protocols:
            await protocol.lost()
        for client in clients:
            client.close()
        assert all(protocol.calls.count("connection_lost") == 1 for protocol in protocols)


def test_the_loop_closed_under_an_open_transport(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """close() of the transport afterwards fails as asyncio's does, or does nothing; it must not crash."""
    loop = loop_factory()
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = loop.run_until_complete(loop.create_connection(Recorder, sock=ours))
        loop.close()
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            transport.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            ours.close()
            del transport
