"""TCP ports of 127.0.0.1."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One on which nobody listens now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def answer(port: int, question: bytes = b"") -> bytes:
    """The first that is said there, after ``question`` if there is one; nothing if nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(question)
            return sock.recv(4096)
    except OSError:
        return b""
