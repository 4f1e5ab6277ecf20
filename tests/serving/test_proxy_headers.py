"""Headers of the PROXY protocol: what is one, what it says, where it ends."""

from __future__ import annotations

import random
import socket
import struct
from typing import Any

import pytest
from proxy_headers import CLIENT, DESTINATION, V1, ipv4, ipv6, tlv, v2

from edgeloop.serving.proxy_protocol import (
    MAX_V1,
    ProxyHeader,
    ProxyProtocolError,
    TrustedPeers,
    crc32c,
    header_size,
    parse_header,
)

pytestmark = pytest.mark.edgeloop_only


def read(data: bytes) -> ProxyHeader:
    """What a header says that is followed by other bytes."""
    size = header_size(data + b"GET / HTTP/1.1\r\n\r\n")
    assert size == len(data)
    return parse_header(data)


SAID: dict[bytes, ProxyHeader] = {
    V1: ProxyHeader(1, "TCP4", CLIENT, DESTINATION),
    b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n": ProxyHeader(1, "TCP6", ("2001:db8::7", 0, 0, 0), ("::1", 65535, 0, 0)),
    b"PROXY TCP6 ffff:f:f:f:f:f:f:fff ::ffff:1.2.3.4 1 2\r\n": ProxyHeader(
        1, "TCP6", ("ffff:f:f:f:f:f:f:fff", 1, 0, 0), ("::ffff:1.2.3.4", 2, 0, 0)
    ),
    b"PROXY UNKNOWN\r\n": ProxyHeader(1, "UNKNOWN"),
    b"PROXY UNKNOWN ffff::1 nonsense 65535\r\n": ProxyHeader(1, "UNKNOWN"),
    v2(ipv4()): ProxyHeader(2, "TCP4", CLIENT, DESTINATION),
    v2(ipv4(), 0x12): ProxyHeader(2, "UDP4", CLIENT, DESTINATION),
    v2(ipv6("2001:db8::7", "::1", (56324, 443)), 0x21): ProxyHeader(
        2, "TCP6", ("2001:db8::7", 56324, 0, 0), ("::1", 443, 0, 0)
    ),
    v2(b"/run/client".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0"), 0x31): ProxyHeader(
        2, "UNIX", "/run/client", b"\0abstract"
    ),
    v2(bytes(216), 0x31): ProxyHeader(2, "UNIX", "", ""),
    v2(b"x" * 216, 0x32): ProxyHeader(2, "UNIX_DGRAM", "x" * 108, "x" * 108),
    v2(b"", 0x00): ProxyHeader(2, "UNKNOWN"),
    v2(b"", 0x00, 0x20): ProxyHeader(2, "UNKNOWN", local=True),
    v2(b"whatever", 0x77, 0x20): ProxyHeader(2, "UNKNOWN", local=True),
    v2(ipv4() + tlv(0x02, b"example.org") + tlv(0x04, b"")): ProxyHeader(
        2, "TCP4", CLIENT, DESTINATION, tlvs=((0x02, b"example.org"), (0x04, b""))
    ),
    v2(tlv(0xE0, b"own"), 0x00): ProxyHeader(2, "UNKNOWN", tlvs=((0xE0, b"own"),)),
}


@pytest.mark.parametrize("data", SAID, ids=range(len(SAID)))
def test_a_header_says_who_and_where(data: bytes) -> None:
    assert read(data) == SAID[data]


@pytest.mark.parametrize("data", SAID, ids=range(len(SAID)))
def test_a_part_of_a_header_is_none_yet(data: bytes) -> None:
    for size in range(len(data)):
        assert header_size(data[:size]) in (None, len(data))
        assert (header_size(data[:size]) is None) == (size < (16 if data[:1] == b"\r" else len(data)))


def test_the_longest_headers_are_headers() -> None:
    longest = b"PROXY UNKNOWN " + b"f" * (MAX_V1 - 16) + b"\r\n"
    assert len(longest) == 107 and read(longest).kind == "UNKNOWN"
    value = b"x" * (65535 - 12 - 3)
    assert read(v2(ipv4() + tlv(0xE0, value))).tlvs == ((0xE0, value),)


def checked(value: bytes) -> bytes:
    """A header with a checksum field of that value."""
    return v2(ipv4() + tlv(0x03, value) + tlv(0x04, b"\0"))


def test_a_checksum_is_checked() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    right = struct.pack("!I", crc32c(checked(bytes(4))))
    assert read(checked(right)).tlvs[0] == (0x03, right)
    for wrong in (bytes(4), right[::-1], right[:3], right + b"\0"):
        with pytest.raises(ProxyProtocolError, match="checksum"):
            parse_header(checked(wrong))


NONE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
    b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n" + b" " * 107,
    b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    b"PROXY \r\n",
    b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
    b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.256 1 2\r\n",
    b"PROXY TCP4 ::1 ::1 1 2\r\n",
    b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP6 fe80::1%1 ::1 1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1_0 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
    b"PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 \xd9\xa1 2\r\n",
    v2(ipv4(), command=0x11),
    v2(ipv4(), command=0x22),
    v2(ipv4(), 0x13),
    v2(ipv4(), 0x01),
    v2(ipv4(), 0x41),
    v2(ipv4()[:-1]),
    v2(b""),
    v2(ipv4(), 0x21),
    v2(ipv4(), 0x31),
    v2(ipv4() + b"\x04"),
    v2(ipv4() + b"\x04\x00"),
    v2(ipv4() + b"\x04\x00\x02x"),
]


@pytest.mark.parametrize("data", NONE, ids=range(len(NONE)))
def test_what_is_no_header_raises_and_nothing_else(data: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        size = header_size(data)
        assert size is not None
        parse_header(data[:size])


def test_random_bytes_raise_nothing_else() -> None:
    dice = random.Random(20)
    for _ in range(3000):
        data = bytearray(dice.choice([*SAID, *NONE]))
        for _ in range(dice.randrange(4)):
            place = dice.randrange(len(data))
            data[place : place + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        try:
            size = header_size(bytes(data))
            if size is not None and size <= len(data):
                assert isinstance(parse_header(bytes(data[:size])), ProxyHeader)
        except ProxyProtocolError:
            pass


# Whom to trust


def test_addresses_and_networks_are_trusted_and_no_others() -> None:
    trusted = TrustedPeers(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32", "fe80::1"])
    for peername in [
        ("127.0.0.1", 1),
        ("10.255.0.9", 1),
        ("2001:db8::5", 1, 0, 0),
        ("fe80::1%lo", 1, 0, 1),
        ("::ffff:10.1.2.3", 1, 0, 0),
    ]:
        assert trusted.include(peername), peername
    others: list[Any] = [
        ("127.0.0.2", 1),
        ("11.0.0.1", 1),
        ("2001:db9::5", 1, 0, 0),
        ("::1", 1, 0, 0),
        "",
        "/run/x",
        None,
    ]
    for peername in others:
        assert not trusted.include(peername), peername
    assert not trusted.include((2, 1234)), "vsock(7)"


def test_peers_on_unix_sockets_are_trusted_by_name() -> None:
    for peername in ("", "/run/client", b"\0abstract", None):
        assert TrustedPeers(["unix"]).include(peername)
    assert not TrustedPeers(["unix"]).include(("127.0.0.1", 1))
    assert not TrustedPeers([]).include("")


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "", "unix:", "1.2.3.4 "])
def test_who_is_nobody_raises_a_value_error_that_names_it(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"proxy_protocol: '{wrong}'"):
        TrustedPeers(["::1", wrong])


@pytest.mark.parametrize("wrong", [16777343, b"\x7f\0\0\1", None])
def test_what_is_no_str_raises_a_type_error_that_names_it(wrong: object) -> None:
    with pytest.raises(TypeError, match="proxy_protocol"):
        TrustedPeers([wrong])  # type: ignore[list-item]


def test_the_address_of_a_family_is_that_of_the_socket_module() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        bound = sock.getsockname()
    assert read(b"PROXY TCP6 ::1 ::1 %d 1\r\n" % bound[1]).source == bound
