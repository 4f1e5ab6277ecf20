"""Datagrams that pass the kernel as one buffer: segmentation offload, udp(7). ``segments.pyx`` is the compiled edition.

A buffer is many datagrams of one size, of which the last may be smaller, on the way through the kernel and, if it can, the
device. UDP_SEGMENT says the size of each when it is sent, UDP_GRO when it is received. Otherwise as ``datagrams.py``.
"""

from __future__ import annotations

import errno
import itertools
import socket
import struct
from typing import Any

from .datagrams import FLAGS, MAX_DATAGRAMS, Message, scratch, send_datagram

# udp(7). Python has no names for them.
UDP_SEGMENT = 103
UDP_GRO = 104
MAX_SEGMENTS = 64  # UDP_MAX_SEGMENTS of the kernel, which newer ones have raised
MAX_SEGMENTED = 65507  # bytes, of IPv4: a packet of them is made before it is cut
# Of a buffer that is not sent for what it is: larger than the route's MTU, or by a device that makes no checksums.
_NOT_AS_SEGMENTS = (errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP)


def can_segment(sock: socket.socket) -> bool:
    """Return True if the kernel cuts what a UDP socket sends (UDP_SEGMENT, Linux 4.18)."""
    try:
        sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


def coalesce(sock: socket.socket) -> bool:
    """Have the kernel deliver datagrams of one size together (UDP_GRO, Linux 5.0). Return True if it will.

    ``recv_segments`` must receive them from now on.
    """
    try:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True


def recv_segments(fd: int, family: int, sock: socket.socket) -> tuple[list[Any], bool]:
    """``recv_datagrams`` of a UDP socket that coalesces: at most MAX_DATAGRAMS buffers, each cut into its datagrams.

    Return the list, and True if the next call would block or fail: its length does not say it.
    """
    arrived: list[Any] = []
    view = scratch.view
    try:
        for _ in range(MAX_DATAGRAMS):
            count, control, _, address = sock.recvmsg_into((view,), socket.CMSG_SPACE(4), socket.MSG_DONTWAIT)
            size = count
            for level, kind, value in control:
                if level == socket.IPPROTO_UDP and kind == UDP_GRO:
                    (size,) = struct.unpack_from("i", value)
            if size <= 0:
                size = count
            start = 0
            while True:  # an empty datagram is one too
                arrived.append(view[start : min(start + size, count)].tobytes())
                arrived.append(address)
                start += size
                if start >= count:
                    break
    except BlockingIOError:
        return arrived, True
    except OSError as exc:
        arrived.append(exc)
        arrived.append(None)
        return arrived, True
    return arrived, False


def send_segments(
    fd: int, family: int, sock: socket.socket, messages: list[Message], first: int
) -> tuple[int, BaseException | None]:
    """``send_datagrams`` of a UDP socket: what follows one another to one address, in one size, leaves as one buffer.

    The last of them may be smaller. If the kernel does not take them so, they are sent one by one.
    """
    index = first
    try:
        if index < 0:
            raise IndexError("the first message's index is negative")
        while index < len(messages):
            pieces, address = _segments(messages, index)
            if len(pieces) > 1:
                control = ((socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", len(pieces[0]))),)
                try:
                    sock.sendmsg(pieces, control, FLAGS, *(() if address is None else (address,)))
                except BlockingIOError:
                    break
                except OSError as exc:
                    if exc.errno not in _NOT_AS_SEGMENTS:
                        raise
                else:
                    index += len(pieces)
                    continue
            for data in pieces:
                if not send_datagram(fd, family, sock, data, address):
                    return index, None
                index += 1
    except BaseException as exc:
        return index, exc
    return index, None


def _segments(messages: list[Message], first: int) -> tuple[list[bytes], Any]:
    """Return the data of the messages from ``first`` on that can leave as one buffer, and their address."""
    data, address = messages[first]
    pieces = [data]
    size = total = len(data)
    for following, its_address in itertools.islice(messages, first + 1, first + MAX_SEGMENTS):
        total += len(following)
        if its_address != address or not 0 < len(following) <= size or total > MAX_SEGMENTED:
            break
        pieces.append(following)
        if len(following) < size:
            break
    return pieces, address
