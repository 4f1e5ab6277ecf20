"""Addresses that are none, in the midst of messages that wait for others: what asyncio does at once happens at once."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from datagram_endpoints import DatagramRecorder, endpoint, plain_socket, receive
from recording import turns


async def gathering(transport: Any, address: Any) -> int:
    """Send as much in each turn as earns that the last of it waits; return how many messages it was."""
    count = 0
    for _ in range(40):
        for _ in range(4):
            transport.sendto(b"before", address)
            count += 1
        await turns(1)
    return count


@pytest.mark.parametrize(
    "wrong", ["text", ("127.0.0.1",), ("127.0.0.1", "9"), ("127.0.0.1", 70_000), ("127.0.0.1", 9, 0, 0)]
)
async def test_what_is_no_address_ends_the_endpoint_after_what_was_sent(wrong: Any) -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    with plain_socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        async with endpoint() as (transport, protocol):
            count = await gathering(transport, peer.getsockname())
            transport.sendto(b"last", peer.getsockname())
            transport.sendto(b"lost", wrong)
            assert transport.is_closing()
            assert isinstance(await protocol.lost(), (TypeError, OverflowError, ValueError))
        assert await receive(peer, count + 1) == [b"before"] * count + [b"last"]


async def test_a_name_is_looked_up_by_the_call() -> None:
    with plain_socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        async with endpoint() as (transport, _):
            count = await gathering(transport, peer.getsockname())
            transport.sendto(b"last", peer.getsockname())
            transport.sendto(b"by name", ("localhost", peer.getsockname()[1]))
            assert (await receive(peer, count + 2))[-2:] == [b"last", b"by name"]


async def test_addresses_of_two_and_of_four_parts_are_both_addresses() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        try:
            peer.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 address")
        peer.setblocking(False)
        loop.set_exception_handler(lambda _, context: None)
        transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=("::1", 0))
        address = peer.getsockname()
        count = await gathering(transport, address)
        transport.sendto(b"two", address[:2])
        transport.sendto(b"four", address)
        transport.sendto(b"lost", (*address[:2], -1, 0))
        assert isinstance(await protocol.lost(), OverflowError)
        assert await receive(peer, count + 2) == [b"before"] * count + [b"two", b"four"]


@pytest.mark.parametrize("wrong", ["", "a" * 200, "\ud800", 9])
async def test_a_path_that_is_none_is_an_error_of_its_own(tmp_path: Path, wrong: Any) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
    path = str(tmp_path / "peer")
    with plain_socket(socket.AF_UNIX, path) as peer:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, family=socket.AF_UNIX)
        for _ in range(40):
            transport.sendto(b"before", path)
            transport.sendto(b"before", path)
            transport.sendto(b"before", path)
            assert await receive(peer, 3) == [b"before"] * 3
        transport.sendto(b"a", path)
        transport.sendto(b"b", path)
        transport.sendto(b"lost", wrong)
        await turns()
        assert bool(protocol.errors) or transport.is_closing()
        assert await receive(peer, 2) == [b"a", b"b"]
        transport.abort()
        await protocol.lost()
