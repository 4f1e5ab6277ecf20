"""What the count of a read says: whether there is anything left (rule 2)."""

from __future__ import annotations

import socket
from typing import Any

from .connection_socket import TCP_ULP

NOTHING = 0  # read on until EAGAIN
ALL = 1  # a short read leaves nothing, unless an event said otherwise
FLAGGED = 2  # likewise, if recvmsg(2) returns no flag


def short_reads_of_kind(family: int, proto: int) -> int:
    """What a short read says on a stream socket of this family and protocol.

    TCP: that nothing is left, but for urgent data, which comes with an event. A Unix socket: the same, but for descriptors and
    credentials, which recvmsg(2) cuts off and flags with MSG_CTRUNC. Others, like SCTP and MPTCP, may keep messages apart.
    """
    if family == socket.AF_UNIX:
        return FLAGGED
    if family in (socket.AF_INET, socket.AF_INET6) and proto in (0, socket.IPPROTO_TCP):
        return ALL
    return NOTHING


def short_reads_of(sock: Any) -> int:
    """What a short read says on a socket that somebody gave us.

    Nothing with kernel TLS on top, where a record of another kind ends a read and no event tells.
    """
    try:
        if sock.type != socket.SOCK_STREAM:
            return NOTHING
        says = short_reads_of_kind(sock.family, sock.proto)
        if says == FLAGGED:
            return FLAGGED if type(sock) is socket.socket else NOTHING  # a subclass may have a recv of its own
        if says == ALL and sock.getsockopt(socket.IPPROTO_TCP, TCP_ULP, 16):
            return NOTHING
        return says
    except (AttributeError, OSError):
        return NOTHING  # no socket of the standard library's, or not TCP after all
