"""Datagrams from anybody: ICMP errors that somebody forged, empty ones, the largest, and an error queue that nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest
from datagram_endpoints import endpoint, name_of, plain_socket
from recording import record_errors, turns

LARGEST = 65507
IP_RECVERR = 11  # linux/in.h

# Type and code of an ICMP message (RFC 792), and what ip(7) and udp(7) make of it on a connected socket.
PORT_UNREACHABLE, HOST_UNREACHABLE, FRAGMENTATION_NEEDED, SOURCE_QUENCH = (3, 3), (3, 1), (3, 4), (4, 0)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def icmp_error(kind: tuple[int, int], sender: tuple[str, int], receiver: tuple[str, int]) -> bytes:
    """The error for a datagram from ``sender`` to ``receiver``: it quotes their heads, which anybody can guess."""
    udp = struct.pack("!HHHH", sender[1], receiver[1], 8, 0)
    addresses = socket.inet_aton(sender[0]) + socket.inet_aton(receiver[0])
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28, 1, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
    message = struct.pack("!BBHHH", *kind, 0, 0, 1400) + ip + udp
    return message[:2] + checksum(message).to_bytes(2, "big") + message[4:]


@contextlib.contextmanager
def raw_socket() -> Iterator[socket.socket]:
    """A socket that sends any ICMP message."""
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    except PermissionError:
        pytest.skip("only who has CAP_NET_RAW may forge an ICMP message")
    with raw:
        yield raw


def iterations() -> int:
    reactor = getattr(asyncio.get_running_loop(), "reactor", None)
    return 0 if reactor is None else int(reactor.iteration)


async def rest() -> int:
    """Let the loop sleep, and return how often it woke up meanwhile."""
    await turns()
    before = iterations()
    await asyncio.sleep(0.05)
    return iterations() - before


@pytest.mark.parametrize("kind", [PORT_UNREACHABLE, HOST_UNREACHABLE, FRAGMENTATION_NEEDED, SOURCE_QUENCH])
async def test_forged_errors_for_a_connected_endpoint_are_told_and_survived(kind: tuple[int, int]) -> None:
    """The kernel believes those that end a connection. No more of them are told than were forged."""
    errors = record_errors(asyncio.get_running_loop())
    with raw_socket() as raw, plain_socket() as peer:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, protocol):
            forged = icmp_error(kind, name_of(transport), peer.getsockname())
            for number in range(200):
                raw.sendto(forged, ("127.0.0.1", 0))
                if number % 20 == 0:
                    await asyncio.sleep(0)
            assert await rest() <= 5
            assert len(protocol.errors) <= 200
            assert all(isinstance(error, OSError) for error in protocol.errors)
            assert bool(protocol.errors) == (kind in (PORT_UNREACHABLE, FRAGMENTATION_NEEDED))
            peer.sendto(b"and yet", name_of(transport))
            assert await protocol.arrived(1) == [b"and yet"]
            transport.sendto(b"it moves")
            assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"it moves"
            assert not transport.is_closing()
    assert errors == []


@pytest.mark.parametrize("queued", [False, True], ids=["dropped", "queued"])
async def test_forged_errors_for_an_endpoint_of_many_peers_disturb_nobody(queued: bool) -> None:
    """Without IP_RECVERR they aren't told; with it, ip(7), there is a queue of them that nobody reads, and EPOLLERR stays."""
    count = 20 if queued else 200  # the queue takes its memory from the socket's buffer: in a full one nothing arrives
    with raw_socket() as raw, plain_socket() as peer:
        async with endpoint() as (transport, protocol):
            if queued:
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            forged = icmp_error(PORT_UNREACHABLE, name_of(transport), peer.getsockname())
            for number in range(count):
                raw.sendto(forged, ("127.0.0.1", 0))
                peer.sendto(b"%d" % number, name_of(transport))
                if number % 20 == 0:
                    await asyncio.sleep(0)
            assert await protocol.arrived(count) == [b"%d" % number for number in range(count)]
            assert bool(protocol.errors) == queued
            assert await rest() <= 5
            assert not transport.is_closing()


async def test_a_flood_of_empty_and_largest_datagrams_arrives_in_order() -> None:
    """Each kind between the others: no end of stream, none cut off, none joined."""
    kinds = [b"", b"x", bytes(LARGEST), b"", b"y" * 1500]
    with plain_socket() as peer:
        async with endpoint() as (transport, protocol):
            for number in range(100):
                peer.sendto(kinds[number % len(kinds)], name_of(transport))
                if number % 2:  # no more than the socket's buffer holds
                    await protocol.arrived(number + 1)
            assert await protocol.arrived(100) == kinds * 20
            assert await rest() <= 5


async def test_a_peer_that_reads_nothing_costs_a_datagram_not_a_turn() -> None:
    """What its socket's buffer has no room for, the kernel drops: sending neither blocks nor wakes the loop."""
    with plain_socket() as peer:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, protocol):
            for _ in range(2000):
                transport.sendto(bytes(1400))
            assert await rest() <= 5
            assert protocol.errors == []
            assert transport.get_write_buffer_size() == 0  # type: ignore[attr-defined]
