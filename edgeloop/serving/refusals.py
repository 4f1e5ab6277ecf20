"""Connections that are refused: reset without a word, or told why by the program's callable.

What is told why is no part of the server's limits, and bounded: in number, and in time.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from ..core.failures import raise_interruption
from ..core.schedule import Scheduler
from .limits import Overload

# How many are told why at a time, others are reset; and for how long, then they are aborted.
MAX_REFUSING = 128
REFUSING_SECONDS = 5.0

_NO_LINGER = struct.pack("ii", 1, 0)

_socket = socket.socket  # bound at import: tools that forbid sockets in tests replace it


def reset(fd: int, family: int) -> None:
    """Close a connection that was just accepted, by RST.

    After a FIN the kernel would keep something of each one that was refused for a minute (tcp_fin_timeout), and a client that
    waits for an answer could take the end for one. On a Unix socket the client reads the end.
    """
    borrowed = _socket(family, socket.SOCK_STREAM, 0, fd)
    try:
        if family != socket.AF_UNIX:
            borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    finally:
        borrowed.close()


class Refusal(asyncio.Protocol):
    """The protocol of a connection that is told why it is refused. What the client sends is thrown away."""

    def __init__(self, loop: Scheduler, tell: Overload) -> None:
        self._loop = loop
        self._tell = tell

    def connection_made(self, transport: Any) -> None:
        """Have the program's callable write, and close gracefully. With TLS the handshake is over."""
        try:
            self._tell(transport)
        except BaseException as exc:
            transport.abort()
            raise_interruption(exc)
            message = "Fatal error: the server's overload callable failed"
            self._loop.call_exception_handler({"message": message, "exception": exc, "transport": transport})
            return
        if transport.is_closing():
            return
        if transport.can_write_eof():
            transport.write_eof()  # close(2) with data unread would be a RST, which takes what was written with it
        else:
            transport.close()  # reads on until the client's close_notify


class Refusals:
    """The connections that are told why they are refused: what their transports take for their server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._loop: Scheduler = server._loop
        self.transports: dict[Any, asyncio.TimerHandle] = {}

    def refuse(self, listener: Any, fd: int, peername: Any, tell: Overload | None) -> None:
        """End a connection that was just accepted. Its descriptor is no longer the caller's."""
        if tell is None or len(self.transports) >= MAX_REFUSING:
            reset(fd, listener.sock.family)
        else:
            listener.connect_refused(fd, peername, lambda: Refusal(self._loop, tell), self)

    @property
    def _ssl_context(self) -> Any:
        return self._server._ssl_context

    def _attach(self, transport: Any) -> None:
        self.transports[transport] = self._loop.call_later(REFUSING_SECONDS, transport.abort)

    def _detach(self, transport: Any) -> None:
        timer = self.transports.pop(transport, None)
        if timer is not None:
            timer.cancel()
        self._server._check_end()

    def _attach_tls(self, transport: Any, lower: Any) -> None:
        """The lower transport is known already."""

    def _detach_tls(self, transport: Any) -> None:
        """The lower transport follows."""

    def _on_connected(self, transport: Any) -> None:
        """The handshake is over."""
