"""The other end of a TLS connection, for a program to play by hand: what a socket can do, with records in between."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl

from tls_certificates import client_context, server_context


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's, made once in a worker."""
    return client_context(), server_context()


class TLSPeer:
    """An SSLObject on a non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = contexts()[1].wrap_bio(self.incoming, self.outgoing, server_side=True)
        sock.setblocking(False)

    def _flush(self) -> None:
        data = self.outgoing.read()
        while data:
            data = data[self.sock.send(data) :]

    def _fill(self) -> bool:
        """Take what has come; return False if nothing has."""
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return False
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()
        return True

    def shake_hands(self) -> None:
        """As far as it goes now."""
        self._fill()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.do_handshake()
        self._flush()

    def send(self, data: bytes) -> int:
        """All of it."""
        sent = self.ssl.write(data) if data else 0
        self._flush()
        return sent

    def recv(self, count: int) -> bytes:
        """What has come; b"" after close_notify. BlockingIOError if nothing has, OSError at the end of a stream cut off."""
        while True:
            try:
                return self.ssl.read(count)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fill():
                    raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.ssl.unwrap()
        self._flush()

    def close(self) -> None:
        """Close the socket, without close_notify."""
        self.sock.close()

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 if it is closed."""
        return self.sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def setsockopt(self, *arguments: object) -> None:
        """Its reset is a close: the socket is a Unix one."""
