"""Datagrams from anybody: ICMP errors that somebody forged, empty ones, the largest, and an error queue that nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from datagram_endpoints import Endpoint, endpoint
from recording import record_errors, turns, until

LARGEST = 65507
IP_RECVERR = 11  # linux/in.h

# Type and code of an ICMP message (RFC 792), and what ip(7) and udp(7) make of it on a connected socket.
PORT_UNREACHABLE, HOST_UNREACHABLE, FRAGMENTATION_NEEDED, SOURCE_QUENCH = (3, 3), (3, 1), (3, 4), (4, 0)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
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
