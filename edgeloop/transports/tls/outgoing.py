"""The way out of a TLS connection: what the application has written, until the lower transport has it as records."""

from __future__ import annotations

from typing import Any

from ...core import gathering
from ...kernel import calls, interpreter
from . import engine
from .engine import Engine

# Empty places at the front of the list, before it is worth moving the rest.
MAX_TAKEN = 1024

# A connection that was late once needs so many times as many prompt calls to gather again.
LATE_FACTOR = 8
MAX_CREDIT_NEEDED = 1 << 20


class OutgoingBuffer:
    """What is written and not encrypted yet.

    It encrypts with the connection's engine, no faster than the lower transport takes the records. One TLSConnection owns
    it, and says when. It calls the lower transport, and through the engine the callbacks of the SSL context. Both may come
    back, and append or drop.
    """

    def __init__(self, tls_engine: Engine) -> None:
        self._engine = tls_engine
        self._chunks: list[Any] = []  # bytes and memoryviews; None where one was taken, from the front
        self._taken = 0
        self.size = 0  # bytes of them
        self.wants_read = False  # the peer must speak before more can be encrypted
        self.lower_full = False  # between its pause_writing and its resume_writing
        self.lower_ended = False  # nothing more comes from below; what waits is passed on, however full it is

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Put ``data`` behind what waits."""
        # The owner may change what isn't bytes once write() has returned. Bytes and views of them run nobody's code when they
        # are dropped. Making a list may run code (a collection): it stays the same one, or what a destructor writes at that
        # moment would be lost with the old.
        owned = data if type(data) is bytes else interpreter.to_bytes(data)
        if owned:  # a memoryview of several dimensions can have a len() and nothing in it
            self._chunks.append(owned)
            self.size += len(owned)

    def drop(self) -> None:
        """Forget what waits."""
        self._taken = 0
        self.size = 0
        self._chunks.clear()

    def unsent(self) -> int:
        """Return how many bytes, encrypted or not, the lower transport hasn't been given."""
        return self.size + self._engine.unsent()

    def send(self, lower: Any, keep_last: bool) -> None:
        """Encrypt what waits and pass it on, as far as the lower transport wants it. Raises what those two raise.

        With ``keep_last`` the last records stay in the engine, to leave together with the close_notify.
        """
        self._send_some(lower, keep_last)
        while self._chunks and not self.wants_read and (not self.lower_full or self.lower_ended):
            if lower.is_closing():
                self.drop()
                break
            self._send_some(lower, keep_last)  # what somebody has written while the lower transport was given the rest

    def _send_some(self, lower: Any, keep_last: bool) -> None:
        while self._chunks and (not self.lower_full or self.lower_ended):
            self._encrypt()
            if self.wants_read:
                break
            # Records leave together, as many as the BIO holds without growing (see PIECE).
            if (
                self._chunks
                and self._engine.unsent() + max(len(self._chunks[self._taken]), engine.RECORD) > engine.PIECE
            ):
                self.send_records(lower)
                if lower.is_closing():
                    # Reset: what remains has nowhere to go, and each piece of it would count as a lost write.
                    self.drop()
        if self._chunks or not keep_last:
            self.send_records(lower)

    def send_records(self, lower: Any) -> None:
        """Pass on what is encrypted, if the lower transport wants it."""
        # At the end of the lower stream this is the last chance, however full it is.
        if not self.lower_full or self.lower_ended:
            records = self._engine.drain()
            if records:
                lower.write(records)

    def _encrypt(self) -> None:
        # One piece. With ``wants_read`` after it, the peer must speak first.
        chunk = self._take()
        if self._chunks or len(chunk) > engine.PIECE:
            chunk = self._fit(chunk)
        size = len(chunk)
        self.size -= size  # before the call, in which a callback of the context's may drop all
        self.wants_read = not self._engine.write(chunk)
        if self.wants_read:
            self._put_back(chunk)
            self.size += size

    def _fit(self, chunk: bytes | memoryview) -> bytes | memoryview:
        # Neither more than a piece, nor less than a record where there is more to send.
        size = len(chunk)
        if size > engine.PIECE:
            whole = memoryview(chunk)
            self._put_back(whole[engine.PIECE :])
            return whole[: engine.PIECE]
        if not self._chunks or size + len(self._chunks[self._taken]) > engine.RECORD:
            return chunk
        small = [chunk]
        while self._chunks and size + len(self._chunks[self._taken]) <= engine.RECORD:
            chunk = self._take()
            small.append(chunk)
            size += len(chunk)
        return b"".join(small)

    def _take(self) -> Any:
        # The first chunk. A deque would take 760 bytes for each connection, and a method call for each message.
        count = len(self._chunks)
        if count == 1:
            return self._chunks.pop()
        chunk = self._chunks[self._taken]
        self._chunks[self._taken] = None
        self._taken += 1
        if self._taken == count or (self._taken >= MAX_TAKEN and 2 * self._taken >= count):
            del self._chunks[: self._taken]
            self._taken = 0
        return chunk

    def _put_back(self, chunk: bytes | memoryview) -> None:
        if self._taken:
            self._taken -= 1
            self._chunks[self._taken] = chunk
        else:
            self._chunks.insert(0, chunk)


class Gathering:
    """Whether small writes may wait for the end of the call from below that they are made in (rule 5).

    A connection earns it as a Channel does, by calls that end soon after their first write. It is counted here too, because
    the lower transport may be any. A call that is late ends it, and more calls are needed to earn it again. One
    TLSConnection owns it.
    """

    def __init__(self) -> None:
        self._credit = 0  # prompt calls in a row
        self._credit_needed = gathering.EARNED
        self.writes = 0  # small ones in the call that is under way
        self._first_write = 0.0  # when that was, as far as it matters; else 0
        self.was_late = False

    def may_wait(self) -> bool:
        """Count a small write. Return True if it may wait."""
        self.writes += 1
        earned = self._credit >= self._credit_needed
        # To read the clock costs something: not for those who write once in each call, and have nothing to gather.
        if not self._first_write and (earned or self.writes == 2):
            self._first_write = calls.now()
        elif earned:
            elapsed = calls.now() - self._first_write
            if elapsed > gathering.SHORT_SECONDS:
                self._judge(elapsed)
                return False
        return earned

    def call_ended(self) -> None:
        """Judge the call by how long ago its first write was."""
        self.writes = 0
        if not self._first_write:
            return
        elapsed = calls.now() - self._first_write
        self._first_write = 0.0
        self._judge(elapsed)

    def _judge(self, elapsed: float) -> None:
        earned = self._credit >= self._credit_needed
        if elapsed > gathering.LONG_SECONDS:
            if earned:
                self._credit_needed = min(self._credit_needed * LATE_FACTOR, MAX_CREDIT_NEEDED)
                self.was_late = True
            self._credit = 0
        elif elapsed <= gathering.SHORT_SECONDS and not earned:
            self._credit += 1
