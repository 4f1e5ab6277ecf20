"""``datagrams_received``: a protocol that takes together what has come together."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any
from unittest import mock

import pytest
from datagram_endpoints import LOCAL, DatagramRecorder, endpoint, name_of, plain_socket
from recording import record_errors

pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather]


class Batches(DatagramRecorder):
    """Keeps the lists too."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: list[list[tuple[bytes, Any]]] = []

    def datagrams_received(self, datagrams: list[tuple[bytes, Any]]) -> None:
        self.lists.append(datagrams)
        self.datagrams.extend(datagrams)
        self.note("datagrams_received")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        raise AssertionError("it has datagrams_received")


def send(sock: socket.socket, count: int, address: Any) -> list[bytes]:
    for number in range(count):
        sock.sendto(b"%d" % number, address)
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 64, 150])
@pytest.mark.parametrize("gro", [False, True], ids=["", "gro"])
async def test_what_has_come_together_is_one_list(count: int, gro: bool) -> None:
    with plain_socket() as sock:
        async with endpoint(Batches, local_addr=LOCAL, gro=gro) as (transport, protocol):
            expected = send(sock, count, name_of(transport))
            assert await protocol.arrived(count) == expected
            lists: Any = protocol.lists  # type: ignore[attr-defined]
            assert lists[0][0] == (b"0", sock.getsockname())
            assert all(type(pair) is tuple for each in lists for pair in each)
            assert len(lists) < count or count == 1
            assert protocol.calls.count("datagrams_received") == len(lists)


async def test_an_error_comes_between_lists() -> None:
    with plain_socket() as peer:
        async with endpoint(Batches, remote_addr=peer.getsockname()) as (transport, protocol):
            where = name_of(transport)
            peer.connect(where)
            expected = [b"%d" % number for number in range(3)]
            for data in expected:
                peer.send(data)
            await protocol.arrived(3)
            assert protocol.data == expected
            peer.close()
            transport.sendto(b"to nobody")
            await protocol.until(lambda: bool(protocol.errors))
            assert isinstance(protocol.errors[0], ConnectionRefusedError)


async def test_a_list_that_takes_long_is_followed_by_shorter_ones() -> None:
    """How long a list takes is not known before. The turns after it have others in between (rule 3)."""

    class Slow(Batches):
        def datagrams_received(self, datagrams: list[tuple[bytes, Any]]) -> None:
            super().datagrams_received(datagrams)
            time.sleep(0.0002 * len(datagrams))

    others = 0

    def count() -> None:
        nonlocal others
        others += 1
        if len(protocol.datagrams) < 200:
            asyncio.get_running_loop().call_soon(count)

    with plain_socket() as sock:
        async with endpoint(Slow, local_addr=LOCAL) as (transport, protocol):
            expected = send(sock, 200, name_of(transport))
            count()
            assert await protocol.arrived(200) == expected
            sizes = [len(each) for each in protocol.lists]  # type: ignore[attr-defined]
    assert max(sizes[1:]) <= sizes[0] // 2 and sizes[-1] <= 2
    assert others > len(sizes) // 2


async def test_a_protocol_that_pauses_has_the_rest_later() -> None:
    class Pausing(Batches):
        def datagrams_received(self, datagrams: list[tuple[bytes, Any]]) -> None:
            super().datagrams_received(datagrams)
            self.endpoint.pause_reading()  # type: ignore[attr-defined]

    with plain_socket() as sock:
        async with endpoint(Pausing, local_addr=LOCAL) as (transport, protocol):
            expected = send(sock, 150, name_of(transport))
            for times in (1, 2, 3):
                await protocol.called("datagrams_received", times)
                for _ in range(5):
                    await asyncio.sleep(0)
                assert protocol.calls.count("datagrams_received") == times
                transport.resume_reading()  # type: ignore[attr-defined]
            assert await protocol.arrived(150) == expected


async def test_a_protocol_that_closes_has_nothing_more() -> None:
    class Closing(Batches):
        def datagrams_received(self, datagrams: list[tuple[bytes, Any]]) -> None:
            super().datagrams_received(datagrams)
            self.endpoint.abort()

    with plain_socket() as sock:
        async with endpoint(Closing, local_addr=LOCAL) as (transport, protocol):
            send(sock, 150, name_of(transport))
            await protocol.lost()
            assert protocol.calls == ["connection_made", "datagrams_received", "connection_lost"]


async def test_what_it_raises_is_reported_and_the_next_list_comes() -> None:
    class Raising(Batches):
        def datagrams_received(self, datagrams: list[tuple[bytes, Any]]) -> None:
            super().datagrams_received(datagrams)
            raise LookupError

    errors = record_errors(asyncio.get_running_loop())
    with plain_socket() as sock:
        async with endpoint(Raising, local_addr=LOCAL) as (transport, protocol):
            assert await protocol.arrived(0) == []
            expected = send(sock, 100, name_of(transport))
            assert await protocol.arrived(100) == expected
            lists: Any = protocol.lists  # type: ignore[attr-defined]
    assert [type(error["exception"]) for error in errors] == [LookupError] * len(lists)


async def test_answers_to_a_list_are_all_sent() -> None:
    class Answering(Batches):
        def datagrams_received(self, datagrams: list[tuple[bytes, Any]]) -> None:
            super().datagrams_received(datagrams)
            for data, address in datagrams:
                self.endpoint.sendto(data, address)

    with plain_socket() as sock:
        async with endpoint(Answering, local_addr=LOCAL, gso=True, gro=True) as (transport, _):
            expected = send(sock, 100, name_of(transport))
            answers = [await asyncio.get_running_loop().sock_recv(sock, 100) for _ in range(100)]
            assert answers == expected


async def test_another_protocol_is_asked_what_it_takes() -> None:
    with plain_socket() as sock:
        async with endpoint(Batches, local_addr=LOCAL) as (transport, first):
            plain = DatagramRecorder()
            transport.set_protocol(plain)
            send(sock, 3, name_of(transport))
            await plain.arrived(3)
            assert plain.calls == ["datagram_received"] * 3
            transport.set_protocol(first)
            send(sock, 3, name_of(transport))
            await first.arrived(3)


async def test_a_mock_object_is_no_protocol_that_takes_lists() -> None:
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()
    protocol = mock.Mock()
    protocol.datagram_received.side_effect = lambda data, addr: arrived.set_result(data)
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=LOCAL)
    with plain_socket() as sock:
        sock.sendto(b"data", name_of(transport))
        assert await arrived == b"data"
    transport.abort()
    await asyncio.sleep(0)
    assert not protocol.datagrams_received.called
