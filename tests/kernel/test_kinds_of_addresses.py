"""What the kernel package says of an address and of a socket before a system call is made with it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from edgeloop.kernel.datagrams import is_plain
from edgeloop.kernel.short_reads import ALL, FLAGGED, NOTHING, short_reads_of, short_reads_of_kind

pytestmark = pytest.mark.edgeloop_only  # its own functions

MPTCP, SCTP, TCP_ULP = 262, 132, 31


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_UNIX, "/tmp/name"),
        (socket.AF_UNIX, b"\0abstract"),
        (socket.AF_UNIX, "x" * 107),
        (socket.AF_INET, ("127.0.0.1", 80)),
        (socket.AF_INET, ("127.0.0.1", 0)),
        (socket.AF_INET, ("127.0.0.1", 65535)),
        (socket.AF_INET6, ("::1", 80)),
        (socket.AF_INET6, ("::1", 80, 0)),
        (socket.AF_INET6, ("::1", 80, 0, 0)),
        (socket.AF_INET6, ("fe80::1", 80, 0xFFFFF, 0xFFFFF)),
    ],
)
def test_an_address_that_the_kernel_takes_as_it_is(family: int, address: Any) -> None:
    assert is_plain(family, address)


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_UNIX, ""),
        (socket.AF_UNIX, b""),
        (socket.AF_UNIX, "x" * 108),
        (socket.AF_UNIX, "\ud800"),
        (socket.AF_UNIX, ("127.0.0.1", 80)),
        (socket.AF_UNIX, bytearray(b"name")),
        (socket.AF_NETLINK, ("127.0.0.1", 80)),
        (socket.AF_NETLINK, "name"),
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, ["127.0.0.1", 80]),
        (socket.AF_INET, ("127.0.0.1",)),
        (socket.AF_INET, ("127.0.0.1", 80, 0)),
        (socket.AF_INET, ("localhost", 80)),
        pytest.param(
            socket.AF_INET,
            ("127.0.0.1\0", 80),
            marks=pytest.mark.skipif(
                sys.implementation.name == "pypy", reason="PyPy's inet_pton ends at the zero byte"
            ),
        ),
        (socket.AF_INET, (b"127.0.0.1", 80)),
        (socket.AF_INET, ("::1", 80)),
        (socket.AF_INET, ("127.0.0.1", "80")),
        (socket.AF_INET, ("127.0.0.1", True)),
        (socket.AF_INET, ("127.0.0.1", -1)),
        (socket.AF_INET, ("127.0.0.1", 65536)),
        (socket.AF_INET6, ("::1",)),
        (socket.AF_INET6, ("127.0.0.1", 80)),
        (socket.AF_INET6, ("::1", 80, 0, 0, 0)),
        (socket.AF_INET6, ("::1", 80, "0", 0)),
        (socket.AF_INET6, ("::1", 80, -1, 0)),
        (socket.AF_INET6, ("::1", 80, 0, -1)),
        (socket.AF_INET6, ("::1", 80, 0x100000, 0)),
        (socket.AF_INET6, ("::1", 80, 0, 1 << 32)),
    ],
)
def test_an_address_that_is_left_to_the_socket_object(family: int, address: Any) -> None:
    assert not is_plain(family, address)


@pytest.mark.parametrize(
    ("family", "proto", "says"),
    [
        (socket.AF_UNIX, 0, FLAGGED),
        (socket.AF_INET, 0, ALL),
        (socket.AF_INET, socket.IPPROTO_TCP, ALL),
        (socket.AF_INET6, 0, ALL),
        (socket.AF_INET6, socket.IPPROTO_TCP, ALL),
        (socket.AF_INET, MPTCP, NOTHING),
        (socket.AF_INET6, SCTP, NOTHING),
        (socket.AF_VSOCK, 0, NOTHING),
        (socket.AF_VSOCK, socket.IPPROTO_TCP, NOTHING),
    ],
)
def test_what_a_short_read_proves_on_a_kind_of_socket(family: int, proto: int, says: int) -> None:
    assert short_reads_of_kind(family, proto) == says


class OwnSocket(socket.socket):
    """Of a program's own class."""


class WithKernelTLS(socket.socket):
    """Says so. Few kernels have it."""

    def getsockopt(self, *arguments: Any) -> Any:
        return b"tls\0" if arguments[:2] == (socket.IPPROTO_TCP, TCP_ULP) else b""


@pytest.fixture
def made() -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    yield made
    for sock in made:
        sock.close()


@pytest.mark.parametrize(
    ("cls", "family", "kind", "says"),
    [
        (socket.socket, socket.AF_UNIX, socket.SOCK_STREAM, FLAGGED),
        (socket.socket, socket.AF_UNIX, socket.SOCK_SEQPACKET, NOTHING),
        (socket.socket, socket.AF_INET, socket.SOCK_STREAM, ALL),
        (socket.socket, socket.AF_INET, socket.SOCK_DGRAM, NOTHING),
        (OwnSocket, socket.AF_UNIX, socket.SOCK_STREAM, NOTHING),
        (OwnSocket, socket.AF_INET, socket.SOCK_STREAM, ALL),
        (WithKernelTLS, socket.AF_INET, socket.SOCK_STREAM, NOTHING),
    ],
)
def test_what_a_short_read_proves_on_a_socket(
    made: list[socket.socket], cls: type[socket.socket], family: int, kind: int, says: int
) -> None:
    made.append(cls(family, kind))
    assert short_reads_of(made[0]) == says


@pytest.mark.parametrize("thing", [None, object(), "socket"])
def test_a_short_read_proves_nothing_on_what_is_no_socket(thing: object) -> None:
    assert short_reads_of(thing) == NOTHING


def test_a_short_read_proves_nothing_on_a_closed_socket() -> None:
    sock = socket.socket()
    sock.close()
    assert short_reads_of(sock) == NOTHING
