"""The system calls on datagram sockets. ``datagrams.pyx`` is the compiled edition: one recvmmsg(2) and one sendmmsg(2) a turn.

A message is the pair (bytes, address). The address has the form of the socket module. None is a connected socket's peer.

- ``recv_datagrams`` and ``send_datagrams`` return errors, because one call has several results. ``send_datagram`` raises.
- ECONNREFUSED and other ICMP errors arrive at the next call, whichever it is. The caller decides whose they are.
- None of the calls blocks (MSG_DONTWAIT). A host name in place of an address does: the socket object resolves it.
- ``family`` is the socket's. The caller passes the descriptor and the socket object, which name the same socket.
- Only EAGAIN says that a socket is empty (rule 2), and a list of fewer than MAX_DATAGRAMS that it was met.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
from typing import Any

Message = tuple[bytes, Any]

MAX_DATAGRAMS = 64  # of one system call
DATAGRAM_SIZE = 262144  # like the stdlib. UDP has up to 65,527 bytes, a Unix socket as much as SO_SNDBUF allows
_PATH_SIZE = 108  # of sun_path, unix(7)
# The owner of a socket that was passed in may have set it to block.
FLAGS = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT


class _Scratch(threading.local):
    """The buffer of recvfrom(2). Without it each call would allocate the largest size. One for each thread."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(DATAGRAM_SIZE))


scratch = _Scratch()


def recv_datagrams(fd: int, family: int, sock: socket.socket) -> list[Any]:
    """Receive at most MAX_DATAGRAMS messages. Fewer mean that the next call would block or has failed.

    Return a flat list: data, sender's address, data, address. An error is the last pair, (OSError, None): the kernel reports
    each once, so raising it would lose the messages before it. The address is None for a Unix socket without a name.
    """
    arrived: list[Any] = []
    view = scratch.view
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
            sock.send(data, FLAGS)
        else:
            sock.sendto(data, FLAGS, address)
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
