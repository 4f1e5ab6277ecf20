"""What the count of a read says: whether there is anything left (rule 2)."""

from __future__ import annotations

import socket
from typing import Any

NOTHING = 0  # read on until EAGAIN
ALL = 1  # a short read leaves nothing, unless an event said otherwise
FLAGGED = 2  # likewise, if recvmsg(2) returns no flag

_TCP_ULP = 31  # linux/tcp.h


def short_reads_of(sock: Any) -> int:
    """What a short read says on this socket.

    TCP: that nothing is left, but for urgent data, which comes with an event. Not with kernel TLS on top, where a record of
    another kind ends a read and no event tells. A Unix socket: the same, but for descriptors and credentials, which
    recvmsg(2) cuts off and flags with MSG_CTRUNC. Others, like SCTP, keep messages apart.
    """
    try:
        if sock.type != socket.SOCK_STREAM:
            return NOTHING
        if sock.family == socket.AF_UNIX:
            return FLAGGED if type(sock) is socket.socket else NOTHING  # a subclass may have a recv of its own
        if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.proto in (0, socket.IPPROTO_TCP):
            return NOTHING if sock.getsockopt(socket.IPPROTO_TCP, _TCP_ULP, 16) else ALL
    except (AttributeError, OSError):
        pass  # no socket of the standard library's, or not TCP after all
    return NOTHING
