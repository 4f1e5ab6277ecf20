"""One connection's SSL object, the engine that encrypts and decrypts for it, and what waits to be encrypted.

Nothing here knows of transports, protocols or loops; reading.py and writing.py build on it.
"""

from __future__ import annotations

import ssl
from typing import Any

from . import engine, openssl, state

# Empty places at the front of a write buffer, before it is worth moving the rest.
MAX_TAKEN = 1024


class TLSRecords:
    """The record layer of one connection.

    Raises ValueError for a ``server_hostname`` that can't be one, as ``SSLContext.wrap_bio`` does.
    """

    def __init__(self, sslcontext: ssl.SSLContext, server_side: bool, server_hostname: str | None) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        if server_side or not server_hostname:
            server_hostname = None
        self._sslobj = sslcontext.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_hostname)
        self._engine = openssl.engine_of(self._sslobj, incoming, outgoing)
        self._write_buffer: list[Any] = []  # bytes and memoryviews; None where one was taken, from the front
        self._taken = 0
        self._write_buffer_size = 0
        self._write_wants_read = False

    def _take_input_error(self) -> ssl.SSLError:
        error = self._engine.error
        assert error is not None
        self._engine.error = None
        return error

    def _discard(self) -> int:
        """Decrypt what there is, for nobody; how many bytes it was."""
        total = len(self._engine.read())
        while self._engine.input == state.MORE:
            total += len(self._engine.read())
        return total

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        """Put ``data`` behind what waits to be encrypted."""
        # Its owner may change what isn't bytes once write() has returned. What waits is bytes and views of them: to drop it
        # runs nobody's code. To make a list may do so (a collection): it stays the same one, or what a destructor writes
        # in that moment would be lost with the old.
        owned = data if type(data) is bytes else bytes(memoryview(data))
        if owned:  # a memoryview of several dimensions can have a len() and nothing in it
            self._write_buffer.append(owned)
            self._write_buffer_size += len(owned)

    def _encrypt(self) -> None:
        """Encrypt one piece of the write buffer; with ``_write_wants_read`` after it, the peer must speak first."""
        chunk = self._take()
        if self._write_buffer or len(chunk) > engine.PIECE:
            chunk = self._fit(chunk)
        size = len(chunk)
        self._write_buffer_size -= size  # before the call, in which a callback of the context's may drop all
        self._write_wants_read = not self._engine.write(chunk)
        if self._write_wants_read:
            self._put_back(chunk)
            self._write_buffer_size += size

    def _fit(self, chunk: bytes | memoryview) -> bytes | memoryview:
        # Neither more than a piece, nor less than a record where there is more to send.
        size = len(chunk)
        if size > engine.PIECE:
            whole = memoryview(chunk)
            self._put_back(whole[engine.PIECE :])
            return whole[: engine.PIECE]
        if not self._write_buffer or size + len(self._write_buffer[self._taken]) > engine.RECORD:
            return chunk
        small = [chunk]
        while self._write_buffer and size + len(self._write_buffer[self._taken]) <= engine.RECORD:
            chunk = self._take()
            small.append(chunk)
            size += len(chunk)
        return b"".join(small)

    def _take(self) -> Any:
        # The first of the write buffer. A deque would take 760 bytes for each connection, and a method call for each message.
        count = len(self._write_buffer)
        if count == 1:
            return self._write_buffer.pop()
        chunk = self._write_buffer[self._taken]
        self._write_buffer[self._taken] = None
        self._taken += 1
        if self._taken == count or (self._taken >= MAX_TAKEN and 2 * self._taken >= count):
            del self._write_buffer[: self._taken]
            self._taken = 0
        return chunk

    def _put_back(self, chunk: bytes | memoryview) -> None:
        if self._taken:
            self._taken -= 1
            self._write_buffer[self._taken] = chunk
        else:
            self._write_buffer.insert(0, chunk)

    def _drop_output(self) -> None:
        self._taken = 0
        self._write_buffer_size = 0
        self._write_buffer.clear()
