"""Bytes to TLS records and back: an ``ssl.SSLObject`` between two ``ssl.MemoryBIO``, and what waits to be encrypted.

Nothing here knows of transports, protocols or loops; tls.py builds on it.
"""

from __future__ import annotations

import ssl
from collections import deque
from typing import Any

from . import tls_state

# The largest payload of one record (RFC 8446, section 5.1). Smaller writes of one turn share a record.
RECORD = 16384

# A MemoryBIO never gives back the memory it once needed, so both are fed in pieces of this size: it, and not the
# largest message, is what an idle connection keeps. Half of it cost 5 % more CPU on an echo of 100 kB.
PIECE = 65536


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
        self._input = tls_state.DRY
        self._input_error: ssl.SSLError | None = None
        self._received: memoryview | None = None  # what the lower transport has read, in a buffer that isn't ours
        self._received_size = 0
        self._fed = 0  # how much of it is in the BIO
        self._backlog: deque[bytes | memoryview] = deque()
        self._backlog_size = 0
        self._write_wants_read = False

    def _receive(self, buffer: memoryview, size: int) -> None:
        """Take what the lower transport has read, all at once or, if it is much, to feed it piece by piece."""
        if size <= PIECE:
            self._incoming.write(buffer[:size])
        else:
            self._received = buffer
            self._received_size = size
            self._feed()

    def _feed(self) -> bool:
        """Put the next piece of what was received into the BIO; whether there was one."""
        start = self._fed
        if start == self._received_size:
            return False
        end = self._fed = min(start + PIECE, self._received_size)
        assert self._received is not None
        self._incoming.write(self._received[start:end])
        return True

    def _let_go_of_received(self) -> None:
        # The buffer is about to be somebody else's: what nobody wanted yet moves to the BIO.
        if self._fed < self._received_size:
            assert self._received is not None
            self._incoming.write(self._received[self._fed : self._received_size])
        self._received = None
        self._received_size = self._fed = 0

    def _decrypt(self, buffer: memoryview, size: int) -> int:
        """Fill ``buffer``, of ``size`` bytes, as far as there is data. ``_input`` says what stopped it."""
        filled = 0
        read: Any = self._sslobj.read
        while True:
            try:
                count = read(size - filled, buffer[filled:] if filled else buffer)
            except ssl.SSLWantReadError:
                if self._feed():
                    continue
                self._input = tls_state.DRY
                break
            except ssl.SSLZeroReturnError:
                self._input = tls_state.ENDED
                break
            except ssl.SSLError as exc:
                self._input = tls_state.FAILED
                self._input_error = exc
                break
            if not count:
                self._input = tls_state.ENDED
                break
            filled += count
            if filled == size:
                # The rest of a record can wait inside the SSL object, where the BIO doesn't count it.
                more = self._incoming.pending or self._fed < self._received_size or self._sslobj.pending()
                self._input = tls_state.MORE if more else tls_state.DRY
                break
            if not self._incoming.pending and (self._fed == self._received_size or not self._feed()):
                # A short read took all of its record, and there is no other: spare an SSLWantReadError.
                self._input = tls_state.DRY
                break
        return filled

    def _take_input_error(self) -> ssl.SSLError:
        error = self._input_error
        assert error is not None
        self._input_error = None
        return error

    def _discard(self, buffer: memoryview) -> int:
        """Decrypt what there is for nobody, into ``buffer``; how many bytes it was."""
        size = buffer.nbytes
        total = self._decrypt(buffer, size)
        while self._input == tls_state.MORE:
            total += self._decrypt(buffer, size)
        return total

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        """Put ``data`` behind what waits to be encrypted."""
        # Its owner may change what isn't bytes once write() has returned.
        owned = data if type(data) is bytes else bytes(data)
        self._backlog.append(owned)
        self._backlog_size += len(owned)

    def _encrypt(self) -> None:
        """Encrypt one piece of the backlog; with ``_write_wants_read`` after it, the peer must speak first."""
        chunk = self._backlog.popleft()
        if self._backlog or len(chunk) > PIECE:
            chunk = self._fit(chunk)
        try:
            self._sslobj.write(chunk)
        except ssl.SSLWantReadError:
            # A renegotiation (TLS 1.2): OpenSSL wants the peer's answer, then the same bytes again.
            self._backlog.appendleft(chunk)
            self._write_wants_read = True
            return
        self._write_wants_read = False
        self._backlog_size -= len(chunk)

    def _fit(self, chunk: bytes | memoryview) -> bytes | memoryview:
        # Neither more than a piece, nor less than a record where there is more to send.
        size = len(chunk)
        if size > PIECE:
            whole = memoryview(chunk)
            self._backlog.appendleft(whole[PIECE:])
            return whole[:PIECE]
        if not self._backlog or size + len(self._backlog[0]) > RECORD:
            return chunk
        small = [chunk]
        while self._backlog and size + len(self._backlog[0]) <= RECORD:
            chunk = self._backlog.popleft()
            small.append(chunk)
            size += len(chunk)
        return b"".join(small)

    def _drop_output(self) -> None:
        self._backlog.clear()
        self._backlog_size = 0
