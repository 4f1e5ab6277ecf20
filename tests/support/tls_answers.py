"""Protocols and steps for tests of when what is written over TLS leaves."""

from __future__ import annotations

import socket
from collections.abc import Callable

from recording import Recorder
from tls_peer import Peer

QUICK = 50  # callbacks that end at once, more than it takes to be trusted


def has_something(sock: socket.socket) -> bool:
    """Whether there is something to read; over loopback, what was sent is there when send(2) returns."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


class Answering(Recorder):
    """Answers each request, then does ``then()`` before it returns."""

    then: Callable[[], object] | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(b"answer")
        if self.then is not None:
            self.then()


async def exchange(peer: Peer, count: int, size: int = 6) -> None:
    for _ in range(count):
        await peer.send(b"request")
        assert len(await peer.receive(size)) == size
