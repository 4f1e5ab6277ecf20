"""Which sockets are empty after a read that returned less than was asked for (rule 2).

Both functions return NOTHING, ALL or FLAGGED and raise nothing. A transport calls one when it begins; the answer holds until
somebody sets TCP_ULP (see connection_socket.py).
"""

from __future__ import annotations

import socket
from typing import Any

from .connection_socket import TCP_ULP

NOTHING = 0  # a short read proves nothing: read until EAGAIN
ALL = 1  # a short read empties the socket, unless the event had RDHUP, HUP, ERR or PRI
FLAGGED = 2  # likewise, unless recvmsg(2) sets MSG_CTRUNC


def short_reads_of_kind(family: int, proto: int) -> int:
    """Return what a short read proves on a stream socket of this family and protocol.

    On TCP only urgent data ends a read early, and that comes with an event. On a Unix socket descriptors and credentials
    do, for which recvmsg(2) sets MSG_CTRUNC. SCTP, MPTCP and others may end a read at each message.
    """
    if family == socket.AF_UNIX:
        return FLAGGED
    if family in (socket.AF_INET, socket.AF_INET6) and proto in (0, socket.IPPROTO_TCP):
        return ALL
    return NOTHING


def short_reads_of(sock: Any) -> int:
    """Return what a short read proves on a socket that a program has passed in.

    With kernel TLS it proves nothing: a record of another type ends a read, without an event.
    """
    try:
        if sock.type != socket.SOCK_STREAM:
            return NOTHING
        says = short_reads_of_kind(sock.family, sock.proto)
        if says == FLAGGED:
            return FLAGGED if type(sock) is socket.socket else NOTHING  # a subclass may override recv
        if says == ALL and sock.getsockopt(socket.IPPROTO_TCP, TCP_ULP, 16):
            return NOTHING
        return says
    except (AttributeError, OSError):
        return NOTHING  # not a socket.socket, or not TCP
