"""``Admission``: which of the connections that were accepted are served. It counts those of each peer.

A listener asks it where connections are refused: at the limit of all, and for each connection if those of a peer are counted.
With overload="wait" alone nobody is asked. Compiled: it may be asked for each connection.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

from ..kernel import calls
from .limits import Limits, Overload
from .refusals import Refusals

_UCRED = struct.Struct("3i")  # unix(7), SO_PEERCRED: process, user, group

_socket = socket.socket  # bound at import: tools that forbid sockets in tests replace it


def peer_of(peername: Any) -> Any:
    """Return what the connections of a peer at this address are counted under; None: they are not counted.

    An IPv4 address, one that is mapped into IPv6 too. Of an IPv6 address the first 64 bits, the network: whoever has one
    address of it has them all. In a link-local one these are the same for everybody, so the whole of it counts.
    """
    if not isinstance(peername, tuple) or not isinstance(peername[0], str):
        return None
    host: str = peername[0]
    if len(peername) == 2:
        return host  # the pair of IPv4
    if host.startswith("::ffff:") and "." in host:
        return host[7:]
    address = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if address[0] == 0xFE and address[1] & 0xC0 == 0x80:  # fe80::/10
        return host
    return address[:8]


def user_of(fd: int) -> Any:
    """Return what the connections of a Unix socket's peer are counted under: its user."""
    borrowed = _socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    try:
        return _UCRED.unpack(borrowed.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1]
    finally:
        borrowed.detach()


class Peer:
    """Who connects, and how many connections of theirs are open."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.open = 0


class Admission:
    """Decides for one server who is served, and counts connections by peer. For the loop's thread alone."""

    def __init__(self, server: Any, refusals: Refusals) -> None:
        self._server = server
        self._refusals = refusals
        self._connections: set[Any] = server._connections
        self._limit = sys.maxsize
        self._per_peer = 0  # 0: they are not counted
        self._tell: Overload | None = None
        self._peer: Peer | None = None  # of the connection that ``admit`` was last asked about
        self._peers: dict[Any, Peer] = {}  # by what they are counted under
        self._peer_of: dict[Any, Peer] = {}  # by transport

    def set_limits(self, limits: Limits) -> None:
        """Keep to these from the next connection on."""
        waits = limits.overload in (None, "wait")
        self._limit = sys.maxsize if waits or limits.max_connections is None else limits.max_connections
        self._tell = limits.overload if callable(limits.overload) else None
        counted = self._per_peer
        self._per_peer = limits.max_connections_per_peer or 0
        if not self._per_peer:
            self._peers.clear()
            self._peer_of.clear()
        elif not counted:
            for transport in self._connections:
                self.told(transport, transport.get_extra_info("peername"))

    def admit(self, listener: Any, fd: int, peername: Any) -> bool:
        """Return True if an accepted connection is to be served. Else it was refused, and its descriptor is closed.

        Where it raises, too.
        """
        self._peer = None
        if len(self._connections) < self._limit:
            if not self._per_peer:
                return True
            try:
                key = peer_of(peername)
                if key is None and listener.sock.family == socket.AF_UNIX:
                    key = user_of(fd)
            except BaseException:
                calls.close(fd)
                raise
            if key is None:
                return True
            peer = self._peer = self._find(key)
            if peer.open < self._per_peer:
                return True
        self._server._count_refused()
        self._refusals.refuse(listener, fd, peername, self._tell)
        return False

    def entered(self, transport: Any) -> None:
        """The connection that was admitted last has a transport."""
        if self._per_peer and self._peer is not None:
            self._count(transport, self._peer)

    def told(self, transport: Any, peername: Any) -> bool:
        """Count the connection under this address from now on. Return False if its peer has too many with it."""
        self.left(transport)
        if not self._per_peer:
            return True
        key = peer_of(peername)
        if key is None and transport.fd >= 0 and transport.get_extra_info("socket").family == socket.AF_UNIX:
            key = user_of(transport.fd)
        if key is None:
            return True
        peer = self._find(key)
        self._count(transport, peer)
        return peer.open <= self._per_peer

    def _find(self, key: Any) -> Peer:
        peer = self._peers.get(key)
        return Peer(key) if peer is None else peer

    def _count(self, transport: Any, peer: Peer) -> None:
        self._peer_of[transport] = peer
        if not peer.open:
            self._peers[peer.key] = peer
        peer.open += 1

    def left(self, transport: Any) -> None:
        """A connection has ended."""
        peer = self._peer_of.pop(transport, None)
        if peer is not None:
            peer.open -= 1
            if not peer.open:
                self._peers.pop(peer.key, None)
