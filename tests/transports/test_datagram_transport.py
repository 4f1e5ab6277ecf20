"""Datagram transports: what is sent and received, in which order, and pauses of reading."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from datagram_endpoints import LOCAL, DatagramEcho, DatagramRecorder, endpoint, name_of, plain_socket, receive
from recording import record_errors

SENDS_EMPTY = sys.version_info >= (3, 13)

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


# Sending and receiving


async def test_echo_with_many_peers() -> None:
    async with endpoint(DatagramEcho) as (server, _):
        peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(100)]
        for number, peer in enumerate(peers):
            peer.setblocking(False)
            peer.connect(name_of(server))
            peer.send(b"%d" % number)
        loop = asyncio.get_running_loop()
        for number, peer in enumerate(peers):
            with peer:
                assert await loop.sock_recv(peer, 100) == b"%d" % number


async def test_datagrams_of_one_turn_arrive_in_order() -> None:
    with plain_socket() as peer:
        async with endpoint() as (transport, _):
            sent = [b"%d" % number for number in range(100)]
            for data in sent:
                transport.sendto(data, peer.getsockname())
            assert await receive(peer, 100) == sent


async def test_the_first_datagram_of_a_turn_leaves_at_once() -> None:
    """Programs send a request and look for the answer without going back to the loop."""
    with plain_socket() as peer:
        async with endpoint() as (transport, _):
            transport.sendto(b"now", peer.getsockname())
            assert peer.recv(100) == b"now"


def test_a_stopped_loop_sends_at_once(loop: asyncio.AbstractEventLoop) -> None:
    with plain_socket() as peer:
        transport, _ = loop.run_until_complete(loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL))
        for data in (b"one", b"two", b"three"):
            transport.sendto(data, peer.getsockname())
            assert peer.recv(100) == data
        transport.close()
        loop.run_until_complete(asyncio.sleep(0.01))


async def test_several_targets_in_one_turn() -> None:
    with plain_socket() as one, plain_socket() as two:
        async with endpoint() as (transport, _):
            for number in range(10):
                transport.sendto(b"%d" % number, (one, two)[number % 2].getsockname())
            assert await receive(one, 5) == [b"0", b"2", b"4", b"6", b"8"]
            assert await receive(two, 5) == [b"1", b"3", b"5", b"7", b"9"]


async def test_host_name_as_target() -> None:
    """Between addresses, and keeping its place in the order."""
    with plain_socket() as peer:
        async with endpoint() as (transport, _):
            port = peer.getsockname()[1]
            for number, host in enumerate(("127.0.0.1", "localhost", "127.0.0.1", "localhost", "127.0.0.1")):
                transport.sendto(b"%d" % number, (host, port))
            assert await receive(peer, 5) == [b"0", b"1", b"2", b"3", b"4"]


async def test_largest_and_empty_datagrams() -> None:
    async with endpoint(DatagramEcho) as (server, _), endpoint(remote_addr=name_of(server)) as (client, protocol):
        largest = bytes(range(256)) * 255 + bytes(227)  # 65,507 bytes: udp(7)
        client.sendto(largest)
        client.sendto(b"")
        client.sendto(b"end")
        expected = [largest, b"", b"end"] if SENDS_EMPTY else [largest, b"end"]
        assert await protocol.arrived(len(expected)) == expected
        assert {address for _, address in protocol.datagrams} == {name_of(server)}


def test_what_was_scheduled_first_runs_first(loop: asyncio.AbstractEventLoop) -> None:
    """A datagram that is there already does not overtake the task that is about to wait for it."""
    transport, protocol = loop.run_until_complete(loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL))
    order: list[str] = []

    async def task() -> None:
        order.append("task")
        await protocol.arrived(1)
        order.append("datagram")

    with plain_socket() as peer:
        peer.sendto(b"early", name_of(transport))
        loop.call_soon(lambda: order.append(f"callback, {len(protocol.datagrams)} received"))
        loop.run_until_complete(task())
    assert order == ["callback, 0 received", "task", "datagram"]
    transport.close()
    loop.run_until_complete(protocol.lost())
    loop.run_until_complete(asyncio.sleep(0))


async def test_empty_datagrams_are_received_on_every_version() -> None:
    with plain_socket() as peer:
        async with endpoint() as (transport, protocol):
            for data in (b"", b"x", b""):
                peer.sendto(data, name_of(transport))
            assert await protocol.arrived(3) == [b"", b"x", b""]


async def test_large_unix_datagrams(tmp_path: Path) -> None:
    """Unix datagrams may be larger than UDP's."""
    path = str(tmp_path / "socket")
    with plain_socket(socket.AF_UNIX, None) as peer:
        async with endpoint(local_addr=path, family=socket.AF_UNIX) as (_, protocol):
            sent = [bytes([number]) * 150000 for number in range(3)]
            loop = asyncio.get_running_loop()
            for data in sent:
                await loop.sock_sendto(peer, data, path)
            assert await protocol.arrived(3) == sent


async def test_bytes_like_data_is_copied() -> None:
    with plain_socket() as peer:
        async with endpoint() as (transport, _):
            buffer = bytearray(b"abcd")
            for _ in range(3):
                transport.sendto(buffer, peer.getsockname())
                transport.sendto(memoryview(buffer)[1:3], peer.getsockname())
            buffer[:] = b"XXXX"
            assert await receive(peer, 6) == [b"abcd", b"bc"] * 3


@pytest.mark.parametrize("data", ["text", 5, None, [b"list"]])
async def test_other_data_is_refused(data: Any) -> None:
    async with endpoint() as (transport, _):
        name = type(data).__name__
        with pytest.raises(TypeError, match=f"data argument must be a bytes-like object, not '{name}'"):
            transport.sendto(data, LOCAL)


async def test_connected_transport_takes_its_peer_and_no_other_address() -> None:
    with plain_socket() as peer:
        remote = peer.getsockname()
        async with endpoint(remote_addr=remote) as (transport, _):
            transport.sendto(b"implied")
            transport.sendto(b"named", remote)
            with pytest.raises(ValueError) as caught:
                transport.sendto(b"other", ("127.0.0.1", 1))
            assert str(caught.value) == f"Invalid address: must be None or {remote}"
            assert await receive(peer, 2) == [b"implied", b"named"]


@pytest.mark.parametrize("addr", [None, 5, "127.0.0.1", ("127.0.0.1",), ("127.0.0.1", "port"), ("127.0.0.1", 65536)])
async def test_what_is_no_address_ends_the_transport(addr: Any) -> None:
    """As in asyncio: what isn't an OSError is a mistake of the program, told to the exception handler."""
    reported = record_errors(asyncio.get_running_loop())
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    transport.sendto(b"where to?", addr)
    error = await protocol.lost()
    await asyncio.sleep(0)
    assert isinstance(error, (TypeError, OverflowError, ValueError))  # the last is PyPy's
    (context,) = reported
    assert context["message"] == "Fatal write error on datagram transport"
    assert context["exception"] is error
    assert context["transport"] is transport
    assert context["protocol"] is protocol
    assert protocol.calls == ["connection_made", "connection_lost"]


@pytest.mark.parametrize("addr", [("127.0.0.1\0.example", 9), ("", 0), ("<broadcast>", 9)])
async def test_odd_hosts_get_what_the_socket_object_makes_of_them(addr: Any) -> None:
    reported = record_errors(asyncio.get_running_loop())
    with plain_socket() as control:
        try:
            control.sendto(b"x", addr)
            expected: type[Exception] | None = None
        except (OSError, ValueError, TypeError) as exc:
            expected = type(exc)
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    transport.sendto(b"x", addr)
    if expected is None:
        transport.close()
        assert await protocol.lost() is None
        assert not protocol.errors
    elif issubclass(expected, OSError):
        await protocol.called("error_received")
        assert type(protocol.errors[0]) is expected
        transport.close()
        await protocol.lost()
    else:
        assert type(await protocol.lost()) is expected
        assert len(reported) == 1
    await asyncio.sleep(0)


# Reading


async def test_pause_and_resume_reading() -> None:
    class Pausing(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"pause":
                self.endpoint.pause_reading()  # type: ignore[attr-defined]

    with plain_socket() as peer:
        async with endpoint(Pausing) as (transport, protocol):
            reading: Any = transport
            for data in (b"one", b"pause", b"two", b"three"):
                peer.sendto(data, name_of(transport))
            assert await protocol.arrived(2) == [b"one", b"pause"]
            assert not reading.is_reading()
            peer.sendto(b"four", name_of(transport))
            await asyncio.sleep(0.02)
            assert len(protocol.datagrams) == 2
            reading.resume_reading()
            assert reading.is_reading()
            assert await protocol.arrived(5) == [b"one", b"pause", b"two", b"three", b"four"]


async def test_another_protocol_takes_over() -> None:
    with plain_socket() as peer:
        async with endpoint() as (transport, first):
            second = DatagramRecorder()
            taking: Any = transport
            peer.sendto(b"one", name_of(transport))
            await first.arrived(1)
            taking.set_protocol(second)
            assert taking.get_protocol() is second
            peer.sendto(b"two", name_of(transport))
            assert await second.arrived(1) == [b"two"]
            taking.set_protocol(first)


@pytest.mark.edgeloop_only  # asyncio calls back in the context of whoever made the endpoint, by chance of its handles
async def test_callbacks_run_in_the_context_of_the_endpoint() -> None:
    seen: list[str] = []

    class Looking(DatagramEcho):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            seen.append(variable.get())
            super().datagram_received(data, addr)

        def error_received(self, exc: Exception) -> None:
            seen.append(variable.get())
            super().error_received(exc)

    with plain_socket() as peer:
        variable.set("at creation")
        async with endpoint(Looking) as (transport, protocol):
            variable.set("later")
            peer.sendto(b"look", name_of(transport))
            await protocol.arrived(1)
            transport.sendto(bytes(70000), peer.getsockname())
            await protocol.called("error_received")
            assert seen == ["at creation", "at creation"]
