"""Bytes to TLS records and back: an ``ssl.SSLObject`` between two ``ssl.MemoryBIO``, and what waits to be encrypted.

Nothing here knows of transports, protocols or loops; tls.py builds on it.
"""

from __future__ import annotations

import ssl
from typing import Any

from .. import kernel
from . import tls_state

# The largest payload of one record (RFC 8446, section 5.1). Smaller writes of one turn share a record.
RECORD = 16384

# A MemoryBIO never gives back the memory it once needed, so both are fed in pieces of this size: it, and not the
# largest message, is what an idle connection keeps. Half of it cost 5 % more CPU on an echo of 100 kB.
PIECE = 65536

# Empty places at the front of a backlog, before it is worth moving the rest.
MOST_TAKEN = 1024

# What a protocol is handed at a time: as in the standard library.
MOST_PLAIN = 256 * 1024


class TLSRecords:
    """The record layer of one connection.

    Raises ValueError for a ``server_hostname`` that can't be one, as ``SSLContext.wrap_bio`` does.
    """

    def __init__(self, sslcontext: ssl.SSLContext, server_side: bool, server_hostname: str | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        if server_side or not server_hostname:
            server_hostname = None
        self._sslobj = sslcontext.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        engine = _engine(self._sslobj)
        # Kept: to look the four up takes as long as much else that is done for a message.
        self._feed_engine: Any = self._incoming.write
        self._read_engine: Any = engine.read
        self._write_engine: Any = engine.write
        self._drain_engine: Any = self._outgoing.read
        self._fed = 0  # bytes that came last
        self._most = 0  # how many were asked for last, and the arguments that do so: messages are often of one size
        self._arguments: tuple[int, ...] = ()
        self._input = tls_state.DRY
        self._input_error: ssl.SSLError | None = None
        self._received: memoryview | None = None  # the part of what was received that is not in the BIO yet
        self._backlog: list[Any] = []  # bytes and memoryviews; None where one was taken, from the front
        self._taken = 0
        self._backlog_size = 0
        self._write_wants_read = False

    def _receive(self, data: bytes) -> None:
        """Take what the lower transport has read, all at once or, if it is much, to feed it piece by piece."""
        if self._received is not None:
            while self._feed():
                pass  # what nobody has wanted yet comes first
        self._fed = len(data)
        if self._fed <= PIECE:
            self._feed_engine(data)
        else:
            self._received = memoryview(data)
            self._feed()

    def _feed(self) -> bool:
        """Put the next piece of what was received into the BIO; whether there was one."""
        received = self._received
        if received is None:
            return False
        self._feed_engine(received[:PIECE])
        self._received = received[PIECE:] if len(received) > PIECE else None
        return True

    def _read(self, arguments: tuple[Any, ...]) -> Any:
        """What SSLObject.read(*arguments) gives; nothing, and ``_input`` says what stopped it."""
        while True:
            try:
                found = self._read_engine(*arguments)
            except ssl.SSLWantReadError:
                if self._feed():
                    continue
                self._input = tls_state.DRY
            except ssl.SSLZeroReturnError:
                self._input = tls_state.ENDED
            except ssl.SSLError as exc:
                self._input = tls_state.FAILED
                self._input_error = exc
            else:
                if not found:
                    self._input = tls_state.ENDED
                return found
            return 0

    def _is_dry(self) -> bool:
        # After a read that took all of its record: whether there is no other, which spares an SSLWantReadError.
        if self._incoming.pending or self._feed():
            return False
        self._input = tls_state.DRY
        return True

    def _decrypted(self) -> bytes:
        """What there is, up to a record more than MOST_PLAIN. ``_input`` says what stopped it."""
        # A record at a time, which is all that OpenSSL gives, into an object that is cut to its size. What came last is
        # more than what it decrypts to, unless part of a record was there before.
        most = min(self._fed or RECORD, RECORD)
        self._fed = 0
        if most != self._most:
            self._most = most
            self._arguments = (most,)
        piece: bytes = self._read(self._arguments) or b""
        size = len(piece)
        if not size or ((size < most or most == RECORD) and self._is_dry()):
            return piece
        pieces = [piece]
        while size < MOST_PLAIN:
            piece = self._read((RECORD,))
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if self._is_dry():
                break
        else:
            self._input = tls_state.MORE
        return b"".join(pieces)

    def _decrypt(self, buffer: memoryview, size: int) -> int:
        """Fill ``buffer``, of ``size`` bytes, as far as there is data. ``_input`` says what stopped it."""
        filled = 0
        while count := self._read((size - filled, buffer[filled:] if filled else buffer)):
            filled += count
            if filled == size:
                # The rest of a record can wait inside the SSL object, where the BIO doesn't count it.
                more = self._incoming.pending or self._received is not None or self._sslobj.pending()
                self._input = tls_state.MORE if more else tls_state.DRY
                break
            if self._is_dry():
                break
        return filled

    def _take_input_error(self) -> ssl.SSLError:
        error = self._input_error
        assert error is not None
        self._input_error = None
        return error

    def _discard(self) -> int:
        """Decrypt what there is, for nobody; how many bytes it was."""
        total = len(self._decrypted())
        while self._input == tls_state.MORE:
            total += len(self._decrypted())
        return total

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        """Put ``data`` behind what waits to be encrypted."""
        # Its owner may change what isn't bytes once write() has returned.
        owned = data if type(data) is bytes else bytes(data)
        self._backlog.append(owned)
        self._backlog_size += len(owned)

    def _encrypt(self) -> None:
        """Encrypt one piece of the backlog; with ``_write_wants_read`` after it, the peer must speak first."""
        chunk = self._take()
        if self._backlog or len(chunk) > PIECE:
            chunk = self._fit(chunk)
        try:
            self._write_engine(chunk)
        except ssl.SSLWantReadError:
            # A renegotiation (TLS 1.2): OpenSSL wants the peer's answer, then the same bytes again.
            self._put_back(chunk)
            self._write_wants_read = True
            return
        self._write_wants_read = False
        self._backlog_size -= len(chunk)

    def _fit(self, chunk: bytes | memoryview) -> bytes | memoryview:
        # Neither more than a piece, nor less than a record where there is more to send.
        size = len(chunk)
        if size > PIECE:
            whole = memoryview(chunk)
            self._put_back(whole[PIECE:])
            return whole[:PIECE]
        if not self._backlog or size + len(self._backlog[self._taken]) > RECORD:
            return chunk
        small = [chunk]
        while self._backlog and size + len(self._backlog[self._taken]) <= RECORD:
            chunk = self._take()
            small.append(chunk)
            size += len(chunk)
        return b"".join(small)

    def _take(self) -> Any:
        # The first of the backlog. A deque would take 760 bytes for each connection, and a method call for each message.
        chunk = self._backlog[self._taken]
        count = len(self._backlog)
        if count == 1:
            kernel.empty(self._backlog)
            return chunk
        self._backlog[self._taken] = None
        self._taken += 1
        if self._taken == count:
            self._backlog = []
            self._taken = 0
        elif self._taken >= MOST_TAKEN and 2 * self._taken >= count:
            del self._backlog[: self._taken]
            self._taken = 0
        return chunk

    def _put_back(self, chunk: bytes | memoryview) -> None:
        if self._taken:
            self._taken -= 1
            self._backlog[self._taken] = chunk
        else:
            self._backlog.insert(0, chunk)

    def _drop_output(self) -> None:
        self._backlog = []
        self._taken = 0
        self._backlog_size = 0


def _engine(sslobj: ssl.SSLObject) -> Any:
    """What encrypts and decrypts: the object of the ssl module's C half where there is one, else ``sslobj``.

    ``SSLObject.read`` and ``write`` do nothing but call it: two Python calls less for each request. A class of the
    context's own (``sslobject_class``) may do something more, so it is called itself.
    """
    if type(sslobj) is ssl.SSLObject:
        return getattr(sslobj, "_sslobj", sslobj)
    return sslobj
