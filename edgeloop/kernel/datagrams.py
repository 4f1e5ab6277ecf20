"""The datagram system calls of the pure edition; ``datagrams.pyx`` is the same interface for the compiled one.

A message is a pair (data, address), as recvfrom(2) gives it and sendto(2) takes it; to a
connected socket's peer the address is None.
"""

from __future__ import annotations

import itertools
import socket
import threading
from typing import Any

Message = tuple[bytes, Any]

MAX_DATAGRAMS = 64  # received with one call; a longer list to send is cut into as many at a time
DATAGRAM_SIZE = 262144  # as the stdlib's: UDP has 65,527 bytes at most, a Unix socket what SO_SNDBUF allows
# A socket that was given may have been set to block again by its owner.
_FLAGS = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT


class _Scratch(threading.local):
    """Where datagrams land: ``recvfrom`` would have the largest size allocated, and given back, for each."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(DATAGRAM_SIZE))


_scratch = _Scratch()


def recv_datagrams(fd: int, family: int, sock: socket.socket) -> list[Any]:
    """What has arrived, at most MAX_DATAGRAMS: fewer mean that the next call would have blocked, or has failed.

    One after the other: the data of a message, its sender's address, the data of the next. An error, which the kernel tells
    once, stands in its place among the data, with None for the address: the last.
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
    """Send one message; whether it went, False if the call would block."""
    try:
        if address is None:
            sock.send(data, _FLAGS)
        else:
            sock.sendto(data, _FLAGS, address)
    except BlockingIOError:
        return False
    return True


def send_datagrams(
    fd: int, family: int, sock: socket.socket, messages: list[Message], first: int
) -> tuple[int, BaseException | None]:
    """Send ``messages[first:]`` in order: the index of the one that did not go, and what it raised.

    No exception at an index within the list: that one would block. The length of the list: all went.
    """
    index = first
    try:
        if index < 0:
            raise IndexError("the first message's index is negative")
        for message in itertools.islice(messages, index, None):  # an abort may empty the list between any two steps
            if not send_datagram(fd, family, sock, *message):
                break
            index += 1
    except BaseException as exc:
        return index, exc
    return index, None
