"""What runs for each read and each write of a stream: the compiled bases of the reader, the writer and the protocol.

The public classes are in __init__.py. The attributes have the names of asyncio's own classes: methods that are inherited
from these use them, and programs do.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from typing import Any

from .. import stdlib
from ..transports import base
from ..transports.stream import StreamTransport

DEFAULT_LIMIT = 65536
MAX_SIZE = sys.maxsize

# readuntil takes a tuple of separators from 3.13 on.
_TAKES_TUPLES = sys.version_info >= (3, 13)


class ReaderCore:
    """The bytes that were received and not read yet, and the future that waits for more.

    While one bytes object of the transport is all there is, it is kept as it is; mostly a read takes it whole, and it is
    never copied. When more comes all is in ``_array``, a bytearray, which is None before. For the loop's thread alone.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT, loop: asyncio.AbstractEventLoop | None = None) -> None:
        if limit <= 0:
            raise ValueError("Limit cannot be <= 0")
        self._loop: Any = asyncio.get_event_loop() if loop is None else loop
        self._limit = limit
        self._chunk = b""
        self._start = 0  # where in the chunk the unread rest begins
        self._array: bytearray | None = None
        self._exposed = False  # somebody has a reference to the array: it stays in use
        self._eof = False
        self._waiter: asyncio.Future[None] | None = None
        self._exception: Exception | None = None
        self._transport: Any = None
        self._paused = False
        if self._loop.get_debug():
            stack = stdlib.extract_stack()
            while stack and stack[-1].filename in (__file__, stdlib.__file__):
                del stack[-1]
            self._source_traceback = stack

    @property
    def _limit(self) -> int:
        return self._limit_given

    @_limit.setter
    def _limit(self, limit: int) -> None:
        # Any number will do, infinity too. Some programs set it later.
        self._limit_given = limit
        self._max_line = MAX_SIZE if limit > MAX_SIZE else int(limit)
        self._max_kept = MAX_SIZE if limit > MAX_SIZE // 2 else int(2 * limit)

    @property
    def _buffer(self) -> bytearray:
        self._exposed = True
        return self._all_in_array()

    def _all_in_array(self) -> bytearray:
        array = self._array
        if array is None:
            array = bytearray(self._chunk)
            del array[: self._start]
            self._chunk = b""
            self._start = 0
            self._array = array
        return array

    def _unread(self) -> int:
        return len(self._chunk) - self._start if self._array is None else len(self._array)

    # Called by the protocol

    def exception(self) -> Exception | None:
        """Return what ``set_exception`` was given, None before."""
        return self._exception

    def set_exception(self, exc: Exception) -> None:
        """Make every read raise this, the one that waits too."""
        self._exception = exc
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.cancelled():
                waiter.set_exception(exc)

    def _wakeup_waiter(self) -> None:
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.cancelled():
                waiter.set_result(None)

    def feed_eof(self) -> None:
        """No data follows: end the read that waits."""
        self._eof = True
        self._wake()

    def at_eof(self) -> bool:
        """Return True if the end came and everything before it was read."""
        return self._eof and self._unread() == 0

    def feed_data(self, data: bytes | bytearray | memoryview) -> None:
        """Append received data. Pauses the transport when more than twice the limit is unread."""
        assert not self._eof, "feed_data after feed_eof"
        if not data:
            return
        if type(data) is bytes and self._array is None and self._start == len(self._chunk):
            self._chunk = data
            self._start = 0
        else:
            self._all_in_array().extend(data)
        self._wake()
        if self._unread() > self._max_kept and self._transport is not None and not self._paused:
            self._paused = True
            try:
                self._transport.pause_reading()
            except NotImplementedError:
                self._transport = None  # it can't pause: never ask again, and keep whatever comes
                self._paused = False
            except BaseException:
                self._paused = False
                raise

    # Called by the coroutines: None means that they have to wait for ``_arrival``

    def _arrival(self, function: str) -> asyncio.Future[None]:
        if self._waiter is not None:
            raise RuntimeError(f"{function}() called while another coroutine is already waiting for incoming data")
        assert not self._eof, "_wait_for_data after EOF"
        if self._exception is not None:
            raise self._exception  # set while the caller was on its way here; no data follows
        if self._paused:
            self._resume()  # else what it waits for never comes
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiter = waiter
        return waiter

    def _gave_up(self, waiter: asyncio.Future[None]) -> None:
        if self._waiter is waiter:
            self._waiter = None

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()

    def _change_transport(self, transport: Any) -> bytes:
        # For start_tls: return the unread bytes, which came by the old one.
        self._paused = False
        unread = self._take(MAX_SIZE)
        if self._transport is not None:  # else connection_made is still to be called, and sets it
            self._transport = transport
        return unread

    def _maybe_resume_transport(self) -> None:
        self._resume_if_few()

    def _resume_if_few(self) -> None:
        if self._paused and self._unread() <= self._max_line:
            self._resume()

    def _rest(self, count: int) -> bytes:
        # For read(count) after it has waited: return what is there, perhaps nothing.
        try:
            return self._take(count)
        except OverflowError:
            return self._take(MAX_SIZE)

    def _take(self, count: int) -> bytes:
        # Return the first ``count`` unread bytes, all of them if there are fewer.
        array = self._array
        if array is None:
            chunk = self._chunk
            start = self._start
            if count >= len(chunk) - start:
                data = chunk[start:] if start else chunk
                self._chunk = b""
                self._start = 0
            else:
                data = chunk[start : start + count]
                self._start = start + count
        else:
            with memoryview(array) as view, view[:count] as part:  # on PyPy the part would keep the array's size else
                data = bytes(part)
            del array[:count]
            if not array and not self._exposed:
                self._array = None
        if self._paused:
            self._resume_if_few()
        return data

    def _some(self, count: int) -> bytes | None:
        # For read(count): return what is there, None if nothing is or the count is negative.
        if self._exception is not None:
            raise self._exception
        try:
            size = count
        except OverflowError:  # more than a C number holds
            size = MAX_SIZE
        if size <= 0:
            return None if size else b""
        if self._unread() == 0 and not self._eof:
            return None
        return self._take(size)

    def _exactly(self, count: int, waited: bool) -> bytes | None:
        # For readexactly(count).
        if not waited:
            if count < 0:
                raise ValueError("readexactly size can not be less than zero")
            if self._exception is not None:
                raise self._exception
            if count == 0:
                return b""
        try:
            size = count
        except OverflowError:
            size = MAX_SIZE
        if self._unread() >= size:
            return self._take(size)
        if self._eof:
            raise asyncio.IncompleteReadError(self._drop_all(), count)
        return None

    def _until(self, separator: Any, offset: int, waited: bool) -> bytes | int:
        # For readuntil(separator): return the line, or the offset from which to search when more has come.
        if _TAKES_TUPLES and isinstance(separator, tuple):
            separators = sorted(separator, key=len)
            if not separators:
                raise ValueError("Separator should contain at least one element")
            shortest = len(separators[0])
            longest = len(separators[-1])
        else:
            separators = None
            shortest = longest = len(separator)
        if shortest == 0:
            raise ValueError("Separator should be at least one-byte string")
        if not waited and self._exception is not None:
            raise self._exception
        unread = self._unread()
        if unread - offset >= shortest:
            if separators is None:
                found = self._find(separator, offset)
                end = found + longest
            else:
                found = end = -1
                for one in separators:  # the one that ends first, the shortest of several
                    place = self._find(one, offset)
                    if place >= 0 and (found < 0 or place + len(one) < end):
                        found = place
                        end = place + len(one)
            if found >= 0:
                if found > self._max_line:
                    raise asyncio.LimitOverrunError("Separator is found, but chunk is longer than limit", found)
                return self._take(end)
            offset = max(0, unread + 1 - longest)
            if offset > self._max_line:
                raise asyncio.LimitOverrunError("Separator is not found, and chunk exceed the limit", offset)
        if self._eof:
            raise asyncio.IncompleteReadError(self._drop_all(), None)
        return offset

    def _find(self, separator: Any, offset: int) -> int:
        # Return where the separator is among the unread bytes, from offset on; -1 if it isn't.
        if self._array is not None:
            return self._array.find(separator, offset)
        found = self._chunk.find(separator, self._start + offset)
        return found - self._start if found >= 0 else -1

    def _drop_line(self, consumed: int, separator: bytes) -> None:
        # For readline and a line over the limit: drop the line if its end is here, else everything.
        if self._find(separator, consumed) == consumed:
            self._take(consumed + len(separator))
        else:
            self._drop_all()
            self._resume_if_few()

    def _drop_all(self) -> bytes:
        # At the end of the stream: the transport is not resumed.
        paused = self._paused
        self._paused = False
        data = self._take(MAX_SIZE)
        self._paused = paused
        return data


class WriterCore:
    """The compiled base of StreamWriter. It owns nothing: ``close`` is the transport's. For the loop's thread alone."""

    def __init__(self, transport: Any, protocol: Any, reader: Any, loop: Any) -> None:
        assert reader is None or isinstance(reader, asyncio.StreamReader)
        self._transport = transport
        self._protocol = protocol
        self._reader = reader
        self._loop = loop

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data, at once or at the end of the callback; what the socket doesn't take is kept: see ``drain``."""
        self._transport.write(data)

    def _drained(self) -> bool:
        # Return True if drain() has nothing to wait for and nothing to raise; False too where finding out costs more.
        if self._reader is not None:
            if not isinstance(self._reader, ReaderCore):
                return False
            reader = self._reader
            if reader._exception is not None:
                return False
        if not isinstance(self._protocol, ProtocolCore):
            return False
        protocol = self._protocol
        if protocol._paused or protocol._connection_lost:
            return False
        if type(self._transport) is StreamTransport:
            transport = self._transport
            transport.push()  # after drain() the kernel has it
            return transport._state == base.OPEN
        return not self._transport.is_closing()


class ProtocolCore:
    """Passes data from a transport to a reader. What happens less often than once for each read is asyncio's code."""

    _stream_reader_wr: weakref.ref[Any] | None
    _paused: bool
    _connection_lost: bool

    def data_received(self, data: bytes) -> None:
        """asyncio doc: Protocol.data_received."""
        if self._stream_reader_wr is not None:
            reader = self._stream_reader_wr()
            if reader is not None:
                reader.feed_data(data)
