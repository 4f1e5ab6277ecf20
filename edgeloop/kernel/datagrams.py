"""The system calls on datagram sockets. ``datagrams.pyx`` is the compiled edition: one recvmmsg(2) and one sendmmsg(2) a turn.

A message is the pair (bytes, address). The address has the form of the socket module. None is a connected socket's peer.

- ``recv_datagrams`` and ``send_datagrams`` return errors, because one call has several results. ``send_datagram`` raises.
- ECONNREFUSED and other ICMP errors arrive at the next call, whichever it is. The caller decides whose they are.
- None of the calls blocks (MSG_DONTWAIT). A host name in place of an address does: the socket object resolves it.
- ``family`` is the socket's. The caller passes the descriptor and the socket object, which name the same socket.
- Only EAGAIN says that a socket is empty (rule 2), and a list of fewer than MAX_DATAGRAMS that it was met.
- Segmentation offload, udp(7): a buffer is many datagrams of one size, of which the last may be smaller, on the way through
  the kernel and, if it can, the device. UDP_SEGMENT says the size of each when it is sent, UDP_GRO when it is received.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
import threading
from typing import Any

Message = tuple[bytes, Any]

MAX_DATAGRAMS = 64  # of one system call
DATAGRAM_SIZE = 262144  # like the stdlib. UDP has up to 65,527 bytes, a Unix socket as much as SO_SNDBUF allows
# udp(7). Python has no names for them.
UDP_SEGMENT = 103
UDP_GRO = 104
MAX_SEGMENTS = 64  # UDP_MAX_SEGMENTS of the kernel, which newer ones have raised
MAX_SEGMENTED = 65507  # bytes, of IPv4: a packet of them is made before it is cut
# Of a buffer that is not sent for what it is: larger than the route's MTU, or by a device that makes no checksums.
_NOT_AS_SEGMENTS = (errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP)
_PATH_SIZE = 108  # of sun_path, unix(7)
# The owner of a socket that was passed in may have set it to block.
_FLAGS = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT


class _Scratch(threading.local):
    """The buffer of recvfrom(2). Without it each call would allocate the largest size. One for each thread."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(DATAGRAM_SIZE))


_scratch = _Scratch()


def recv_datagrams(fd: int, family: int, sock: socket.socket) -> list[Any]:
    """Receive at most MAX_DATAGRAMS messages. Fewer mean that the next call would block or has failed.

    Return a flat list: data, sender's address, data, address. An error is the last pair, (OSError, None): the kernel reports
    each once, so raising it would lose the messages before it. The address is None for a Unix socket without a name.
    """
    arrived: list[Any] = []
    view = _scratch.view
    try:
        while len(arrived) < 2 * MAX_DATAGRAMS:
            count, address = sock.recvfrom_into(view, 0, socket.MSG_DONTWAIT)
            arrived.append(view[:count].tobytes())
            arrived.append(address)
    except BlockingIOError:
        pass
    except OSError as exc:
        arrived.append(exc)
        arrived.append(None)
    return arrived


def send_datagram(fd: int, family: int, sock: socket.socket, data: bytes, address: Any) -> bool:
    """Send one message. Return True, or False if the call would block."""
    try:
        if address is None:
            sock.send(data, _FLAGS)
        else:
            sock.sendto(data, _FLAGS, address)
    except BlockingIOError:
        return False
    return True


def is_plain(family: int, address: Any) -> bool:
    """Return True if the kernel takes the address as it is: no name has to be looked up, and its form raises nothing.

    False says nothing: the socket object decides.
    """
    if family == socket.AF_UNIX:
        try:
            return type(address) in (str, bytes) and 0 < len(os.fsencode(address)) < _PATH_SIZE
        except UnicodeEncodeError:
            return False
    if family not in (socket.AF_INET, socket.AF_INET6):
        return False
    if type(address) is not tuple or not 2 <= len(address) <= (2 if family == socket.AF_INET else 4):
        return False
    host, port, *others = address
    if type(host) is not str or type(port) is not int or not 0 <= port <= 0xFFFF:
        return False
    if not all(type(number) is int and 0 <= number <= 0xFFFFF for number in others):
        return False
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True


def send_datagrams(
    fd: int, family: int, sock: socket.socket, messages: list[Message], first: int
) -> tuple[int, BaseException | None]:
    """Send ``messages[first:]`` in order. Return the index of the first that was not sent, and its exception or None.

    With None it would block, or, at the end of the list, all were sent. Nothing is raised: the index would be lost.
    """
    index = first
    try:
        if index < 0:
            raise IndexError("the first message's index is negative")
        for message in itertools.islice(messages, index, None):  # an abort may empty the list meanwhile
            if not send_datagram(fd, family, sock, *message):
                break
            index += 1
    except BaseException as exc:
        return index, exc
    return index, None


# Segmentation offload


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
    view = _scratch.view
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
                    sock.sendmsg(pieces, control, _FLAGS, *(() if address is None else (address,)))
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
