"""``ServerStatus``: what ``Server.status()`` tells."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

# linux/tcp.h: of a listening socket, tcp_diag(7) and TCP_INFO tell the length of the queue in tcpi_unacked.
_UNACKED = struct.Struct("24xI")


class ServerStatus(NamedTuple):
    """A server's counts at one moment.

    A connection is ``open`` from accept(2) until its descriptor is closed; TLS handshakes are included. ``high_mark`` is the
    most that were open at a time. ``accepted`` were served; ``refused`` were turned away, for a limit or for want of
    descriptors. Of these, ``refusing`` are being told why by the program's callable.
    ``timed_out`` counts connections that a deadline has ended: idle, first_byte, write, lifetime. ``waiting`` is how many wait
    in the kernel's queues of TCP sockets; it is ``full`` if they do so for the limit, with overload="wait".
    ``suspended_since`` is ``loop.time()`` when ``suspend``, or the loop's delay, has stopped it, or None. ``delay`` is the
    loop's as last measured, in seconds, None if nothing measures it.
    """

    open: int
    accepted: int
    refused: int
    timed_out: dict[str, int]
    high_mark: int
    refusing: int = 0
    waiting: int = 0
    full: bool = False
    suspended_since: float | None = None
    draining: bool = False
    delay: float | None = None


def waiting_in(sockets: Iterable[socket.socket]) -> int:
    """Return how many connections wait to be accepted, of TCP sockets."""
    found = 0
    for sock in sockets:
        if sock.family != socket.AF_UNIX:
            try:
                (queued,) = _UNACKED.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED.size))
            except OSError:
                continue  # no TCP, or closed by its owner
            found += queued
    return found
