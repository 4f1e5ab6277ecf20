"""A TLS engine without cryptography, for ``start_tls`` and servers, and other processes that have one.

A record is a type, a length of three bytes and a body: hello, data (each byte is turned over, so that what came in plain text
is no record), a question that the engine answers by itself, as OpenSSL does a KeyUpdate, and the end.
"""

from __future__ import annotations

import errno
import ssl
from typing import Any

from simulated_peers import SIZES, ConnectingPeer, Flow, OracleError, StreamPeer
from simulated_streams import StreamSocket
from tape import Tape

HELLO, DATA, QUESTION, ANSWER, END = b"\x01\x02\x03\x04\x05"
HEAD = 4
RECORD = 16384
TURNED = bytes(255 - number for number in range(256))


class StubEngine:
    """What edgeloop uses of ``ssl.SSLObject``. The client's hello is answered by the server's; that is the handshake."""

    def __init__(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, server_side: bool) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._server_side = server_side
        self._input = b""  # the part of a record that was taken out of ``incoming``
        self._plain = b""
        self._greeted = False
        self._has_peer = False
        self._peer_ended = False
        self._ended = False
        self.asked = 0  # what the other engine answers
        self.answered = 0

    def _put(self, kind: int, body: bytes = b"") -> None:
        self._outgoing.write(bytes([kind]) + len(body).to_bytes(HEAD - 1, "big") + body)

    def ask(self) -> None:
        """Send what the other side's engine answers."""
        self.asked += 1
        self._put(QUESTION)

    def _fetch(self, size: int) -> bool:
        if len(self._input) < size:
            self._input += self._incoming.read(size - len(self._input))
        return len(self._input) == size

    def _take(self) -> bool:
        # Use the next record. Return False if it is not complete. What follows it stays in ``incoming``, as with OpenSSL.
        if len(self._input) < HEAD and not self._fetch(HEAD):
            return False
        kind, size = self._input[0], int.from_bytes(self._input[1:HEAD], "big")
        if not HELLO <= kind <= END or size > RECORD:
            raise ssl.SSLError(1, "no record")
        if not self._fetch(HEAD + size):
            return False
        body, self._input = self._input[HEAD:], b""
        if (kind == HELLO) == self._has_peer:
            raise ssl.SSLError(1, "a record that is out of place")
        if kind == HELLO:
            self._has_peer = True
        elif kind == DATA:
            self._plain += body.translate(TURNED)
        elif kind == QUESTION:
            self._put(ANSWER)
        elif kind == ANSWER:
            self.answered += 1
        else:
            self._peer_ended = True
        return True

    def do_handshake(self) -> None:
        if not self._server_side and not self._greeted:
            self._greeted = True
            self._put(HELLO)
        if not self._has_peer and not self._take():
            raise ssl.SSLWantReadError
        if not self._greeted:
            self._greeted = True
            self._put(HELLO)

    def read(self, size: int, buffer: Any = None) -> Any:
        while not self._plain and not self._peer_ended:
            if not self._take():
                raise ssl.SSLWantReadError
        if not self._plain:
            raise ssl.SSLZeroReturnError
        data, self._plain = self._plain[:size], self._plain[size:]
        if buffer is None:
            return data
        with memoryview(buffer) as view, view.cast("B") as place:
            place[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        data = bytes(data)
        for start in range(0, len(data), RECORD):
            self._put(DATA, data[start : start + RECORD].translate(TURNED))
        return len(data)

    def pending(self) -> int:
        return len(self._plain)

    def unwrap(self) -> None:
        if not self._ended:
            self._ended = True
            self._put(END)
        while not self._peer_ended:
            if self._plain:
                raise ssl.SSLError(1, "application data after close notify")
            if not self._take():
                raise ssl.SSLWantReadError


class StubContext(ssl.SSLContext):
    """Its connections have a StubEngine."""

    def wrap_bio(self, incoming: Any, outgoing: Any, server_side: bool = False, *names: Any, **more: Any) -> Any:
        return StubEngine(incoming, outgoing, server_side)


CLIENT = StubContext(ssl.PROTOCOL_TLS_CLIENT)
SERVER = StubContext(ssl.PROTOCOL_TLS_SERVER)


class TlsPeer(StreamPeer):
    """The other end of an encrypted stream."""

    server_side = False

    def __init__(self, tape: Tape, file: StreamSocket, to_it: Flow, from_it: Flow) -> None:
        StreamPeer.__init__(self, tape, file, to_it, from_it)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.engine = StubEngine(self._incoming, self._outgoing, self.server_side)
        self._unsent = b""
        self._is_open = False  # the handshake is over
        self._is_told = False  # it has had a close_notify
        self._has_told = False  # it has sent one

    def _send(self) -> bool:
        # Return True if something has left.
        self._unsent += self._outgoing.read()
        if not self._unsent or self.has_ended:
            return False
        try:
            count: int = self.file.send(self._unsent)
        except OSError as exc:
            if exc.errno != errno.EAGAIN:
                self.has_ended = self.was_cruel = True
            return False
        self._unsent = self._unsent[count:]
        return count > 0

    def _shake_hands(self) -> None:
        if not self._is_open:
            try:
                self.engine.do_handshake()
            except ssl.SSLWantReadError:
                return
            self._is_open = True

    def _has_come(self, data: bytes) -> None:
        if not data:
            self.has_read_end = True
            if not self._is_told:
                self.was_cruel = True  # cut off
        self._incoming.write(data)

    def _read(self, size: int) -> bool:
        moved = not self.has_read_end and self._receive(size)
        if self.over:
            return True
        try:
            self._shake_hands()
            while self._is_open and not self._is_told:
                self.to_it.arrive(self.engine.read(size))
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._is_told = True
        except ssl.SSLError as exc:
            raise OracleError(f"what the loop has sent is no TLS: {exc}") from None
        if self._is_told and not self._has_told:
            self._tell()
        return self._send() or moved

    def _write(self) -> bool:
        self._shake_hands()
        if self._is_open and not self._has_told and not self.has_ended and len(self._unsent) < 400000:
            what = self.tape.below(len(SIZES) + 1)
            if what == len(SIZES):
                self.engine.ask()
            else:
                data = self.from_it.next(min(SIZES[what], 40 * self.file.kernel.capacity))
                self.from_it.wrote(len(data))
                self.engine.write(data)
        return self._send()

    def _tell(self) -> None:
        self._has_told = True
        try:
            self.engine.unwrap()
        except ssl.SSLError:
            pass  # what the loop sends after it is read as before

    def end(self) -> None:
        """Send close_notify, or end the stream without one."""
        if self._is_open and not self._has_told:
            self._tell()
            self._send()
            return
        self.was_cruel = self.was_cruel or not self._has_told or bool(self._unsent)
        StreamPeer.end(self)

    def act(self) -> bool:
        if self.draining and not self.over and self._send():
            return True
        return super().act()

    def close(self) -> None:
        if not self.over and not (self._has_told and self._is_told):
            self.was_cruel = True
        StreamPeer.close(self)

    def unanswered(self) -> int:
        """How many of its questions the loop has left."""
        return self.engine.asked - self.engine.answered


class TlsClient(ConnectingPeer, TlsPeer):
    """Connects when it first acts."""


class TlsServer(TlsPeer):
    """Speaks second."""

    server_side = True
