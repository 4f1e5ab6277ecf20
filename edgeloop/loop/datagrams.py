"""Datagram endpoints: UDP and Unix datagram sockets. asyncio doc: Opening network connections."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket
import stat
from typing import Any

from .. import stdlib
from ..kernel import segments
from ..transports.datagram import DatagramTransport
from .connections import ProtocolFactory
from .sockcalls import SocketCalls

# A socket to try: ((family, proto), (address to bind to, address to connect to)).
Candidate = tuple[tuple[int, int], tuple[Any, Any]]

# Bound at import: tools that look for blocking calls, such as blockbuster in the suites of aiohttp and Starlette, replace
# these in os, and let asyncio's files alone call them.
_stat, _unlink = os.stat, os.unlink


def _check_given(sock: socket.socket, modifiers: dict[str, Any]) -> None:
    if stdlib.TAKES_ANY_PACKETS:
        if sock.type == socket.SOCK_STREAM:
            raise ValueError(f"A datagram socket was expected, got {sock!r}")
    elif sock.type != socket.SOCK_DGRAM:
        raise ValueError(f"A UDP Socket was expected, got {sock!r}")
    problems = ", ".join(f"{name}={value}" for name, value in modifiers.items() if value)
    if problems:
        raise ValueError(f"socket modifier keyword arguments can not be used when sock is specified. ({problems})")


def _check_is_udp(family: int, kind: int, proto: int, asked: dict[str, bool]) -> None:
    names = " and ".join(name for name, value in asked.items() if value)
    if names and (
        family not in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6)
        or kind != socket.SOCK_DGRAM
        or proto not in (0, socket.IPPROTO_UDP)
    ):
        raise ValueError(f"{names} needs a UDP socket, not one of family {family}, type {kind}, protocol {proto}")


def _remove_stale(path: str) -> None:
    # bind(2) fails while the file of a former socket exists; an abstract name has no file.
    if path[0] == "\x00":
        return
    try:
        if stat.S_ISSOCK(_stat(path).st_mode):
            _unlink(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        stdlib.logger().error("Unable to check or remove stale UNIX socket %r: %r", path, exc)


def _share_port(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as exc:
        text = "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented."
        raise ValueError(text) from exc


async def _candidates(
    loop: SocketCalls, local_addr: Any, remote_addr: Any, family: int, proto: int, flags: int
) -> list[Candidate]:
    if not (local_addr or remote_addr):
        if family == 0:
            raise ValueError("unexpected address family")
        return [((family, proto), (None, None))]
    if family == socket.AF_UNIX:
        for path in (local_addr, remote_addr):
            if path is not None and not isinstance(path, str):
                raise TypeError("string is expected")
        if local_addr:
            _remove_stale(local_addr)
        return [((family, proto), (local_addr, remote_addr))]
    found: dict[tuple[int, int], list[Any]] = {}
    for side, addr in enumerate((local_addr, remote_addr)):
        if addr is None:
            continue
        if not (isinstance(addr, tuple) and len(addr) == 2):
            raise TypeError("2-tuple is expected")
        infos = await loop._resolve(addr, family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags)
        if not infos:
            raise OSError("getaddrinfo() returned empty list")
        for info in infos:
            found.setdefault((info[0], info[2]), [None, None])[side] = info[4]
    # A socket has one family: both its addresses must be of it.
    candidates: list[Candidate] = [
        (key, (local, remote))
        for key, (local, remote) in found.items()
        if not (local_addr and local is None) and not (remote_addr and remote is None)
    ]
    if not candidates:
        raise ValueError("can not get address information")
    return candidates


async def _first_socket(
    loop: SocketCalls, candidates: list[Candidate], reuse_port: bool, allow_broadcast: bool
) -> tuple[socket.socket, Any]:
    """Return a socket of the first candidate that works, and its remote address. Raise OSError if none does."""
    failures: list[OSError] = []
    for (family, proto), (local, remote) in candidates:
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM, proto)
            sock.setblocking(False)
            if reuse_port:
                _share_port(sock)
            if allow_broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if local:
                sock.bind(local)
            if remote and not allow_broadcast:
                await loop.sock_connect(sock, remote)
            return sock, remote
        except OSError as exc:
            if sock is not None:
                sock.close()
            failures.append(exc)
        except BaseException:
            if sock is not None:
                sock.close()
            raise
    try:
        raise failures[0]
    finally:
        del failures  # their tracebacks refer to this frame


class Datagrams(SocketCalls):
    """Datagram endpoints, as a mixin of EventLoop. A socket that it makes is its own until a transport has it."""

    async def create_datagram_endpoint(
        self,
        protocol_factory: ProtocolFactory,
        local_addr: tuple[str, int] | str | None = None,
        remote_addr: tuple[str, int] | str | None = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
        sock: socket.socket | None = None,
        gso: bool = False,
        gro: bool = False,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """Bind a datagram socket to ``local_addr``, connect it to ``remote_addr``, or both; or take a ``sock``.

        Returns the transport and the protocol. The addresses are (host, port), with family AF_UNIX paths, where a stale
        socket file is replaced. ``flags`` are those of getaddrinfo(3); ``reuse_port`` sets SO_REUSEPORT,
        ``allow_broadcast`` sets SO_BROADCAST and leaves the socket unconnected, so that anyone may answer. Raises
        OSError; ValueError or TypeError for wrong arguments.

        ``gso`` and ``gro`` ask for UDP's segmentation offload, docs/datagrams.md; ``get_extra_info`` of these names says
        whether the kernel has it.
        """
        remote = None
        is_ours = sock is None
        if sock is not None:
            modifiers = {
                "local_addr": local_addr,
                "remote_addr": remote_addr,
                "family": family,
                "proto": proto,
                "flags": flags,
                "reuse_port": reuse_port,
                "allow_broadcast": allow_broadcast,
            }
            _check_given(sock, modifiers)
            _check_is_udp(sock.family, sock.type, sock.proto, {"gso": gso, "gro": gro})
            sock.setblocking(False)
        else:
            _check_is_udp(family, socket.SOCK_DGRAM, proto, {"gso": gso, "gro": gro})
            candidates = await _candidates(self, local_addr, remote_addr, family, proto, flags)
            sock, remote = await _first_socket(self, candidates, bool(reuse_port), bool(allow_broadcast))
        try:
            self._check_not_a_transport(sock.fileno())
            protocol: Any = protocol_factory()
            context = contextvars.copy_context()
            waiter = self.create_future()
            segmented = gso and segments.can_segment(sock)
            coalesced = gro and segments.coalesce(sock)
            transport = DatagramTransport(
                self, sock, protocol, context, remote, given=not is_ours, gso=segmented, gro=coalesced
            )
            self.call_soon(transport.begin, waiter, context=context)
        except BaseException:
            if is_ours:
                sock.close()
            raise
        if self._debug:
            stdlib.logger().log(
                logging.INFO if local_addr else logging.DEBUG,
                "Datagram endpoint local_addr=%r remote_addr=%r created: (%r, %r)",
                local_addr,
                remote_addr,
                transport,
                protocol,
            )
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol  # type: ignore[return-value]
