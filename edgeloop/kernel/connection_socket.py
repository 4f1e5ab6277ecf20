"""The socket object of a connection that the loop has made or accepted.

asyncio's TransportSocket around it is what a program gets by ``get_extra_info("socket")``, and may keep.
"""

from __future__ import annotations

import socket
import weakref
from collections.abc import Callable
from typing import Any, Self

_socket = socket.socket

TCP_ULP = 31  # the option by which the kernel takes on TLS, whose records end a read: linux/tcp.h


class ConnectionSocket(socket.socket):
    """A socket that sends what its transport has gathered before a program does anything with it (rule 5).

    The descriptor is its own; the transport holds it, and is held by it through a weak reference only.
    """

    __slots__ = ("_transport",)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._transport: Callable[[], Any] | None = None
        super().__init__(*arguments, **keywords)

    def belong_to(self, transport: Any) -> Callable[[], int]:
        """Know the transport; what tells it the descriptor, without sending anything."""
        self._transport = weakref.ref(transport)
        return super().fileno

    def _find_transport(self) -> Any:
        transport = self._transport() if self._transport is not None else None
        if transport is not None:
            transport.is_closing()  # sends what was gathered
        return transport

    def fileno(self) -> int:
        """The descriptor, -1 once it is closed: whoever asks may write to it."""
        self._find_transport()
        return super().fileno()

    def dup(self) -> Self:
        """A duplicate, which belongs to no transport."""
        self._find_transport()
        return super().dup()

    def shutdown(self, how: int) -> None:
        """shutdown(2), after what was written."""
        self._find_transport()
        super().shutdown(how)

    def setsockopt(self, *arguments: Any, **keywords: Any) -> None:
        """setsockopt(2), after what was written. Kernel TLS ends what a short read says (rule 2)."""
        transport = self._find_transport()
        super().setsockopt(*arguments, **keywords)
        if transport is not None and arguments[:2] == (socket.IPPROTO_TCP, TCP_ULP):
            transport.read_to_the_end()


def new_socket(family: int, kind: int, proto: int = 0, fileno: int | None = None) -> socket.socket:
    """A socket for a connection; of the class that somebody has put in ``socket.socket``'s place, if so."""
    if socket.socket is _socket:
        return ConnectionSocket(family, kind, proto, fileno)
    if fileno is None:
        return socket.socket(family=family, type=kind, proto=proto)  # as asyncio calls it
    return socket.socket(family, kind, proto, fileno)
