"""When a server begins the handshakes of clients that come all at once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .protocol import TLSProtocol

# In one turn. A handshake takes as long as a hundred messages, and the others wait for the turn to end. One that has begun
# holds 25 KB of OpenSSL's until the client's next flight, so those that have begun are finished before more begin.
MAX_BEGUN = 16


class HandshakeLimiter:
    """Begins the handshakes of one server, MAX_BEGUN of them in each turn, in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._begun = 0
        self._waiting: deque[TLSProtocol] = deque()
        self._scheduled = False

    def admit(self, tls: TLSProtocol) -> bool:
        """Whether ``tls`` may begin now; else its ``begin`` is called in a later turn."""
        self._schedule()
        if self._begun < MAX_BEGUN:
            self._begun += 1
            return True
        self._waiting.append(tls)
        return False

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._scheduled = False
        self._begun = 0
        while self._waiting and self._begun < MAX_BEGUN:
            self._schedule()
            self._begun += 1
            self._waiting.popleft().begin()
