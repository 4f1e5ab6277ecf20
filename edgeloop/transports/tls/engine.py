"""Bytes to TLS records and back, through the objects of the ssl module: an ``SSLObject`` between two ``MemoryBIO``.

It knows no transport, protocol or loop. openssl.pyx does the same without the objects.
"""

from __future__ import annotations

import _ssl
import ssl
from typing import Any

from . import state

# The largest payload of one record (RFC 8446, section 5.1). Smaller writes of one turn share a record.
RECORD = 16384

# A MemoryBIO never gives back the memory it once needed, so both are fed in pieces of this size: it, and not the
# largest message, is what an idle connection keeps. Half of it cost 5 % more CPU on an echo of 100 kB.
PIECE = 65536

# What a protocol is handed at a time: as in the standard library.
MAX_PLAINTEXT = 256 * 1024

_clear: Any = getattr(getattr(_ssl, "lib", None), "ERR_clear_error", None)  # CPython's module has no such attribute


def forget_errors() -> None:
    """Empty OpenSSL's queue of this thread's errors if the ssl module leaves them there, as PyPy's does.

    The next call for another connection would fail with what is in it: SSL_get_error(3).
    """
    if _clear is not None:
        _clear()


class Engine:
    """Encrypts and decrypts for one connection. The handshake and the end are made by ``sslobj`` itself.

    It belongs to one TLSConnection and lives as long. After ``read`` and ``read_into``, ``input`` says how they ended: MORE,
    WANT_READ, EOF or FAILED of state.py. With MORE and no data, they took a piece in which there was none, and the rest is for
    a later turn: a peer may fill a read with records for OpenSSL alone, which costs as much as many messages.
    """

    def __init__(self, sslobj: Any, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self.input = state.WANT_READ
        self._error: ssl.SSLError | None = None  # after FAILED
        self._sslobj = sslobj
        self._incoming = incoming
        self._outgoing = outgoing
        # Kept: looking up the four costs as much as half of what else a message takes.
        self._feed_bio: Any = incoming.write
        self._read_engine: Any = sslobj.read
        self._write_engine: Any = sslobj.write
        self._drain_bio: Any = outgoing.read
        self._fed = 0  # bytes that came last
        self._asked = 0  # how many were asked for last, and the arguments that do so: messages are often of one size
        self._arguments: tuple[int, ...] = ()
        self._received: memoryview | None = None  # the part of what was received that is not in the BIO yet

    def feed(self, data: bytes) -> None:
        """Take what the lower transport has read: all at once, or piece by piece if it is more than PIECE."""
        if self._received is not None:
            while self.feed_more():
                pass  # what came before and is not used yet comes first
        self._fed = len(data)
        if self._fed <= PIECE:
            self._feed_bio(data)
        else:
            self._received = memoryview(data)
            self.feed_more()

    def feed_more(self) -> bool:
        """Use the next piece of what was received. Return True if there was one."""
        received = self._received
        if received is None:
            return False
        self._feed_bio(received[:PIECE])
        self._received = received[PIECE:] if len(received) > PIECE else None
        return True

    def unread(self) -> int:
        """Return how many encrypted bytes wait to be read. What OpenSSL has taken in is not counted."""
        waiting = 0 if self._received is None else len(self._received)
        return self._incoming.pending + waiting

    def read(self) -> bytes:
        """Return what there is, decrypted, up to a record more than MAX_PLAINTEXT; b"" if there is nothing."""
        # A record at a time, which is all that OpenSSL gives, into an object that is cut to its size. What came last is
        # more than what it decrypts to, unless part of a record was there before.
        limit = min(self._fed or RECORD, RECORD)
        self._fed = 0
        if limit != self._asked:
            self._asked = limit
            self._arguments = (limit,)
        piece: bytes = self._read(self._arguments) or b""
        size = len(piece)
        if not size or ((size < limit or limit == RECORD) and self._needs_input()):
            return piece
        pieces = [piece]
        while size < MAX_PLAINTEXT:
            piece = self._read((RECORD,))
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if self._needs_input():
                break
        else:
            self.input = state.MORE
        return b"".join(pieces)

    def read_into(self, buffer: Any) -> int:
        """Fill what a protocol's ``get_buffer`` gave, as far as there is data. Return how many bytes it was.

        When this returns, the buffer may be resized. Raise RuntimeError if it is empty.
        """
        filled = 0
        count: int
        with memoryview(buffer) as given:
            size = given.nbytes  # its len() counts items
            if not size:
                raise RuntimeError("get_buffer() returned an empty buffer")
            while True:
                if filled:
                    try:
                        whole = given.cast("B")
                    except (TypeError, ValueError):
                        # A format that only its maker knows, such as those of ctypes, can't be cut.
                        self.input = state.MORE
                        return filled
                    with whole, whole[filled:] as rest:
                        count = self._read((size - filled, rest))
                else:
                    count = self._read((size, buffer))
                if not count:
                    return filled
                filled += count
                if filled == size:
                    # OpenSSL may have the rest of a record, which the BIO doesn't count.
                    more = self.unread() or self._sslobj.pending()
                    self.input = state.MORE if more else state.WANT_READ
                    return filled
                if self._needs_input():
                    return filled

    def discard(self) -> int:
        """Decrypt what there is, for nobody. Return how many bytes it was."""
        total = len(self.read())
        while self.input == state.MORE:
            total += len(self.read())
        return total

    def take_error(self) -> ssl.SSLError:
        """Return what was wrong, after FAILED, and forget it: its traceback keeps much alive."""
        error = self._error
        assert error is not None
        self._error = None
        return error

    def write(self, data: bytes | memoryview) -> bool:
        """Encrypt all of ``data``. Return False if the peer must speak first; then write the same bytes again."""
        try:
            self._write_engine(data)
        except ssl.SSLWantReadError:
            return False  # a renegotiation (TLS 1.2): OpenSSL wants the peer's answer, then the same bytes again
        return True

    def unsent(self) -> int:
        """Return how many encrypted bytes wait to be sent."""
        return self._outgoing.pending

    def drain(self) -> bytes | None:
        """Return the records to send, and forget them; b"" or None if there are none."""
        records: bytes = self._drain_bio()
        return records

    def _read(self, arguments: tuple[Any, ...]) -> Any:
        """Return what SSLObject.read(*arguments) does; 0 if that is nothing, and ``input`` says why."""
        fed = False
        while True:
            try:
                found = self._read_engine(*arguments)
            except ssl.SSLWantReadError:
                # A piece is larger than a record: if data was begun before it, it is complete with it.
                if not fed and self.feed_more():
                    fed = True
                    continue
                self.input = state.WANT_READ if self._received is None else state.MORE
            except ssl.SSLZeroReturnError:
                self.input = state.EOF
            except ssl.SSLError as exc:
                self.input = state.FAILED
                self._error = exc
                forget_errors()
            else:
                if not found:
                    self.input = state.EOF
                return found
            return 0

    def _needs_input(self) -> bool:
        # After a read that took all of its record: True if there is no other. That spares an SSLWantReadError.
        if self._incoming.pending or self.feed_more():
            return False
        self.input = state.WANT_READ
        return True


def inner(sslobj: ssl.SSLObject) -> Any:
    """Return the object of the ssl module's C half where there is one, else ``sslobj``.

    ``SSLObject.read`` and ``write`` only call it: this saves two Python calls for each request. A class of the
    context's own (``sslobject_class``) may do more, so it is called itself.
    """
    if type(sslobj) is ssl.SSLObject:
        return getattr(sslobj, "_sslobj", sslobj)
    return sslobj
