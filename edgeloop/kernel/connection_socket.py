"""The socket object of a connection that the loop has made or accepted.

A program gets it from ``get_extra_info("socket")``, inside asyncio's TransportSocket, and may keep it. Every method may be
called from any thread; only the loop's thread sends what is gathered (``Reactor.may_send``). Errors are socket.socket's.
"""

from __future__ import annotations

import os
import socket
import sys
import weakref
from collections.abc import Callable
from typing import Any, Self

_socket = socket.socket

TCP_ULP = 31  # the socket option that starts kernel TLS, linux/tcp.h
_MAKES_BLOCKING = sys.implementation.name == "pypy"  # a socket object for a descriptor sets the file to block there


class ConnectionSocket(socket.socket):
    """A socket that has its transport send what is gathered before a program uses it (rule 5).

    It owns the descriptor. The transport refers to it and closes it; it has a weak reference to the transport.
    """

    __slots__ = ("_transport",)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._transport: Callable[[], Any] | None = None
        super().__init__(*arguments, **keywords)

    def belong_to(self, transport: Any) -> None:
        """Set the transport. It relies on its descriptor until the socket is closed or detached."""
        self._transport = weakref.ref(transport)

    def _leave_transport(self) -> None:
        transport = self._find_transport()
        if transport is not None:
            transport.ask_for_number(super().fileno)  # before the number is free for another file (rule 9)

    def _find_transport(self) -> Any:
        transport = self._transport() if self._transport is not None else None
        if transport is not None:
            transport.is_closing()  # sends what is gathered
        return transport

    def fileno(self) -> int:
        """Return the descriptor, -1 if it is closed. The caller may write to it, so what is gathered is sent first."""
        self._find_transport()
        return super().fileno()

    def close(self) -> None:
        """Close the socket, after what is gathered was sent. The transport notices when it next uses the descriptor."""
        self._leave_transport()
        super().close()

    def detach(self) -> int:
        """Return the descriptor, which is the caller's from now on. Otherwise as ``close``."""
        self._leave_transport()
        return super().detach()

    def dup(self) -> Self:
        """Return a duplicate, which belongs to no transport."""
        self._find_transport()
        return super().dup()

    def shutdown(self, how: int) -> None:
        """shutdown(2), after what is gathered was sent."""
        self._find_transport()
        super().shutdown(how)

    def setsockopt(self, *arguments: Any, **keywords: Any) -> None:
        """setsockopt(2), after what is gathered was sent. With kernel TLS a short read proves nothing any more (rule 2)."""
        transport = self._find_transport()
        super().setsockopt(*arguments, **keywords)
        if transport is not None and arguments[:2] == (socket.IPPROTO_TCP, TCP_ULP):
            transport.read_to_the_end()


def new_socket(family: int, kind: int, proto: int = 0, fileno: int | None = None) -> socket.socket:
    """Return a socket for a connection. If a tool has replaced ``socket.socket``, it is of the tool's class."""
    if socket.socket is _socket:
        return ConnectionSocket(family, kind, proto, fileno)
    if fileno is None:
        return socket.socket(family=family, type=kind, proto=proto)  # the same call as asyncio's, which tools expect
    return socket.socket(family, kind, proto, fileno)


def borrowed_socket(fd: int) -> socket.socket:
    """Return a socket object for a descriptor that somebody else owns: detach it. O_NONBLOCK stays as it is."""
    non_blocking = _MAKES_BLOCKING and not os.get_blocking(fd)
    sock = socket.socket(fileno=fd)
    if non_blocking:
        sock.setblocking(False)
    return sock
