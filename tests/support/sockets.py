"""Sockets of the tests' own: pairs, a listener, and another process that writes."""

from __future__ import annotations

import os
import socket

Pair = tuple[socket.socket, socket.socket]


def listening_socket(family: int = socket.AF_INET) -> socket.socket:
    """A listener on loopback, or a Unix one with a name of the kernel's choice."""
    listening = socket.socket(family)
    listening.bind("" if family == socket.AF_UNIX else ("127.0.0.1", 0))
    listening.listen()
    return listening


def tcp_pair(send_buffer: int | None = None) -> Pair:
    """Two ends of a TCP connection, non-blocking; ``send_buffer`` (bytes) bounds what the kernel holds.

    So a test reaches a full buffer soon.
    """
    with socket.socket() as listening:
        if send_buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, send_buffer)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        ours = socket.socket()
        if send_buffer is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        ours.connect(listening.getsockname())
        theirs, _ = listening.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def unix_pair() -> Pair:
    """Two ends of a Unix stream connection, non-blocking."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def send_from_another_process(sock: socket.socket, data: bytes) -> None:
    """A child sends it, with credentials of its own, and has ended afterwards."""
    child = os.fork()
    if child == 0:
        try:
            sock.sendall(data)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
