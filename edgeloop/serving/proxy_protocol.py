"""The PROXY protocol, versions 1 and 2: a proxy says for whom it speaks, before the first byte of its connection.

Source: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt. The connection that a trusted peer makes must begin with
a header. Nobody guesses: whoever could leave it out could speak for anybody.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import ipaddress
import os
import re
import socket
from collections.abc import Iterable
from typing import Any

from ..core.schedule import Scheduler
from ..transports.stream import StreamTransport
from .listener import Connect

HEADER_SECONDS = 5.0  # for the whole header, however slowly it comes

MAX_V1 = 107  # bytes, with its CRLF
_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = 16  # the signature, version and command, family and protocol, the size of what follows

_PORT = re.compile(r"0|[1-9][0-9]{0,4}")
_MAX_PORT = 65535
# The second nibbles of two bytes of version 2.
_LOCAL, _PROXY = 0, 1
_KINDS = {
    0x00: "UNKNOWN",
    0x11: "TCP4",
    0x12: "UDP4",
    0x21: "TCP6",
    0x22: "UDP6",
    0x31: "UNIX",
    0x32: "UNIX_DGRAM",
}
_ADDRESS_SIZES = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}  # by family
_UNIX_SIZE = 108
PP2_TYPE_CRC32C = 0x03

# Read at a time. A header of version 1, or the usual one of version 2, comes whole.
_PEEK = 4096


class ProxyProtocolError(ConnectionError):
    """A trusted peer sent what is no header of the PROXY protocol, or too little in its time."""


@dataclasses.dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy said: ``get_extra_info("proxy_protocol")`` of a connection that came with a header.

    ``kind`` is the proxied connection's: "TCP4", "TCP6", "UDP4", "UDP6", "UNIX", "UNIX_DGRAM", or "UNKNOWN", where the
    addresses are None. ``source`` is the client, ``destination`` what it connected to, in the form of the socket module.
    ``local`` says that the proxy speaks for itself, as in a health check: no addresses then. ``tlvs`` has the further fields
    of version 2 as (type, value), in their order.
    """

    version: int
    kind: str
    source: Any = None
    destination: Any = None
    local: bool = False
    tlvs: tuple[tuple[int, bytes], ...] = ()


# Reading a header


def header_size(data: bytes) -> int | None:
    """Return the size of the header that ``data`` begins with, None if more is needed to know it.

    Raise ProxyProtocolError at the first byte that can't be one's.
    """
    if _V2.startswith(data[: len(_V2)]):
        if len(data) < _V2_FIXED:
            return None
        if data[12] >> 4 != 2:
            raise ProxyProtocolError(f"version {data[12] >> 4} of the PROXY protocol is not known")
        return _V2_FIXED + int.from_bytes(data[14:16], "big")
    if not _V1.startswith(data[: len(_V1)]):
        raise ProxyProtocolError(f"no header of the PROXY protocol begins with {data[:16]!r}")
    end = data.find(b"\r\n", 0, MAX_V1)
    if end >= 0:
        return end + 2
    if len(data) >= MAX_V1:
        raise ProxyProtocolError(f"the line of a PROXY header has more than {MAX_V1} bytes")
    return None


def parse_header(data: bytes) -> ProxyHeader:
    """Return what a whole header says, as ``header_size`` has cut it. Raise ProxyProtocolError if it makes no sense."""
    return _parse_v2(data) if data.startswith(_V2) else _parse_v1(data)


def _parse_v1(data: bytes) -> ProxyHeader:
    try:
        words = data[:-2].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyProtocolError(f"the line of a PROXY header is ASCII, got {data!r}") from None
    if words[1] == "UNKNOWN":
        return ProxyHeader(1, "UNKNOWN")  # what follows is to be ignored
    if words[1] not in ("TCP4", "TCP6") or len(words) != 6:
        raise ProxyProtocolError(f"no line of a PROXY header: {data!r}")
    kind, source, destination, source_port, destination_port = words[1:]
    ports = []
    for port in (source_port, destination_port):
        if not _PORT.fullmatch(port) or int(port) > _MAX_PORT:
            raise ProxyProtocolError(f"no port is {port!r}, in a PROXY header")
        ports.append(int(port))
    family = socket.AF_INET if kind == "TCP4" else socket.AF_INET6
    packed = []
    for host in (source, destination):
        try:
            if "\0" in host:  # CPython refuses it with ValueError, PyPy takes what stands before it
                raise OSError
            packed.append(socket.inet_pton(family, host))
        except OSError:
            raise ProxyProtocolError(f"no {kind} address is {host!r}, in a PROXY header") from None
    return ProxyHeader(1, kind, _address(family, packed[0], ports[0]), _address(family, packed[1], ports[1]))


def _address(family: int, packed: bytes, port: int) -> Any:
    host = socket.inet_ntop(family, packed)
    return (host, port) if family == socket.AF_INET else (host, port, 0, 0)


def _parse_v2(data: bytes) -> ProxyHeader:
    command, family = data[12] & 0xF, data[13] >> 4
    kind = _KINDS.get(data[13])
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"no command of a PROXY header is {command}")
    if command == _LOCAL:
        return ProxyHeader(2, "UNKNOWN", local=True)  # the rest, of whatever family, is to be ignored
    if kind is None:
        raise ProxyProtocolError(f"no family and protocol of a PROXY header are {data[13]:#04x}")
    end = _V2_FIXED + _ADDRESS_SIZES[family]
    if len(data) < end:
        raise ProxyProtocolError(f"a PROXY header of {len(data)} bytes has no room for its {kind} addresses")
    body = data[_V2_FIXED:end]
    source: Any = None
    destination: Any = None
    if family == 0x3:
        source, destination = _path(body[:_UNIX_SIZE]), _path(body[_UNIX_SIZE:])
    elif family:
        size, domain = (4, socket.AF_INET) if family == 0x1 else (16, socket.AF_INET6)
        ports = [int.from_bytes(body[at : at + 2], "big") for at in (2 * size, 2 * size + 2)]
        source = _address(domain, body[:size], ports[0])
        destination = _address(domain, body[size : 2 * size], ports[1])
    return ProxyHeader(2, kind, source, destination, tlvs=_tlvs(data, end))


def _path(field: bytes) -> Any:
    # As the socket module has them: bytes for an abstract name, which begins with a NUL, else the path.
    if field[0] == 0:
        return field.rstrip(b"\0") or ""
    return os.fsdecode(field.split(b"\0", 1)[0])


def _tlvs(data: bytes, at: int) -> tuple[tuple[int, bytes], ...]:
    found = []
    while at < len(data):
        end = at + 3 + int.from_bytes(data[at + 1 : at + 3], "big")
        if end > len(data) or at + 3 > len(data):
            raise ProxyProtocolError(f"a field of a PROXY header ends behind it, at {end} of {len(data)} bytes")
        kind, value = data[at], data[at + 3 : end]
        if kind == PP2_TYPE_CRC32C and (len(value) != 4 or not _checks(data, at + 3)):
            raise ProxyProtocolError("the checksum of a PROXY header is wrong")
        found.append((kind, value))
        at = end
    return tuple(found)


def _checks(data: bytes, at: int) -> bool:
    # The sum is of the whole header with zeros in place of the sum itself.
    return crc32c(data[:at] + bytes(4) + data[at + 4 :]) == int.from_bytes(data[at : at + 4], "big")


def crc32c(data: bytes) -> int:
    """Return the checksum of RFC 3720, appendix B.4. Headers that carry one are rare and short: no table is kept."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# Whom to trust


class TrustedPeers:
    """The addresses and networks of ``proxy_protocol=``; "unix" stands for every peer on a Unix socket.

    Raise TypeError for what isn't a str, ValueError for what is no address, no network, or a network with bits set behind
    its prefix. Both name it.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._unix = False
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for text in trusted:
            if not isinstance(text, str):
                raise TypeError(f"proxy_protocol must list addresses or networks as str, got {text!r}")
            if text == "unix":
                self._unix = True
                continue
            try:
                self._networks.append(ipaddress.ip_network(text))
            except ValueError as exc:
                raise ValueError(
                    f"proxy_protocol: {text!r} is neither an address, a network nor 'unix' ({exc})"
                ) from None

    def include(self, peername: Any) -> bool:
        """Return True if a connection from there must begin with a header. ``peername`` is accept(2)'s."""
        if not isinstance(peername, tuple):
            return self._unix
        try:
            address = ipaddress.ip_address(str(peername[0]).partition("%")[0])  # without the zone index of a link
        except ValueError:
            return False  # of another family
        # An IPv6 socket without IPV6_V6ONLY, ipv6(7).
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any(address in network or (mapped is not None and mapped in network) for network in self._networks)


# The connection


def connect_after_header(trusted: TrustedPeers, server: Any, connect: Connect | None) -> Connect:
    """Return a ``connect`` of the Server's listeners: the protocol of a trusted peer is connected when its header is there.

    ``connect`` is what makes the transport without that, None for a StreamTransport.
    """
    loop: Scheduler = server._loop

    def connect_any(
        peername: Any, protocol: asyncio.BaseProtocol, context: contextvars.Context, counts: Any
    ) -> StreamTransport:
        if connect is None:
            transport = StreamTransport(loop, -1, None, protocol, context, peername, counts)
        else:
            transport = connect(peername, protocol, context, counts)
        if trusted.include(peername):
            HeaderReader(loop, transport, server if counts is server else None)
        return transport

    return connect_any


class HeaderReader(asyncio.BufferedProtocol):
    """The protocol of a connection until its header is complete; then the one that the transport had before.

    Exactly the header is read. What follows it stays in the kernel, and reaches the protocol as if it came first: paused,
    into a buffer of its own, through TLS. So the kernel is asked first what there is (MSG_PEEK). ``server`` is that whose
    client this is to become, None if it is to be refused. For the loop's thread alone.
    """

    _application_heard = False  # deadlines.py asks: the header is not the client's first byte

    def __init__(self, loop: Scheduler, transport: StreamTransport, server: Any) -> None:
        self._loop = loop
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._server = server
        self._received = bytearray()
        self._piece = bytearray(1)
        self._size: int | None = None  # the header's, once it is known
        self._timer: asyncio.TimerHandle | None = None
        self._is_draining = False  # the protocol is to be told when it is connected
        transport.set_protocol(self)
        if server is not None:
            server._begins_with_header(transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sock = self._transport.open_socket()
        self._timer = self._loop.call_later(HEADER_SECONDS, self._time_is_over)

    def get_buffer(self, sizehint: int) -> bytearray:
        self._piece = bytearray(self._next_size())
        return self._piece

    def _next_size(self) -> int:
        # Return how many bytes to read. One, if there are none or the connection is at its end: the header needs it.
        try:
            peeked = self._sock.recv(_PEEK, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            if self._size is None:
                self._size = header_size(bytes(self._received[:MAX_V1]) + peeked)
        except BlockingIOError:
            return 1
        except OSError as exc:  # a ProxyProtocolError too
            self._fail(exc)
            return 1
        if self._size is None:
            return len(peeked) or 1  # all of it belongs to the header
        return max(1, min(len(peeked), self._size - len(self._received)))

    def buffer_updated(self, nbytes: int) -> None:
        self._received += self._piece[:nbytes]
        if self._size is None or len(self._received) < self._size:
            return
        try:
            header = parse_header(bytes(self._received))
        except ProxyProtocolError as exc:
            self._fail(exc)
        else:
            self._connect(header)

    def _connect(self, header: ProxyHeader) -> None:
        transport, protocol, server = self._transport, self._protocol, self._server
        if server is not None and header.source is not None and not server._admits_client(transport, header.source):
            server._count_refused()
            transport.abort()
            return
        transport.bytes_before = transport.bytes_received
        transport.use_names(header.source, header.destination, {"proxy_protocol": header})
        transport.set_protocol(protocol)
        try:
            protocol.connection_made(transport)  # type: ignore[arg-type]
        except BaseException as exc:
            # As BaseTransport.begin does.
            transport._report(exc, "Fatal error: protocol.connection_made() call failed.")
            if isinstance(exc, MemoryError):
                transport._force_close(exc)
        finally:
            self._let_go()
        if self._is_draining and hasattr(protocol, "server_draining"):
            self._loop.call_soon(protocol.server_draining)

    def server_draining(self) -> None:
        """The server has begun to drain. It tells a protocol once, and this is not the client's."""
        self._is_draining = True

    def eof_received(self) -> bool | None:
        self._fail(ProxyProtocolError(f"the connection ended after {len(self._received)} bytes of a PROXY header"))
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()

    def _time_is_over(self) -> None:
        self._timer = None
        received = len(self._received)
        self._fail(ProxyProtocolError(f"no whole PROXY header in {HEADER_SECONDS} seconds, but {received} bytes"))

    def _fail(self, exc: Exception) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        transport.abort()
        if self._loop.get_debug():  # peers do this often, and on purpose
            self._loop.call_exception_handler(
                {
                    "message": "Error in the PROXY protocol header of an incoming connection",
                    "exception": exc,
                    "transport": transport,
                }
            )

    def _let_go(self) -> None:
        timer, self._timer = self._timer, None
        server, self._server = self._server, None
        if timer is not None:
            timer.cancel()
        if server is not None:
            server._ended_header(self._transport)
