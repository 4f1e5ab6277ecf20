"""The write half of a stream socket: what leaves at once and what is gathered, the end of the stream, files in between.

asyncio doc: Transports and Protocols, Write-only Transports.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable
from typing import Any

from ..kernel import calls, interpreter, sockets
from ..kernel.connection_socket import ConnectionSocket, new_socket
from ..kernel.short_reads import NOTHING
from . import base, rates
from .flow import WriteHalf
from .rates import Rates

# Where writes are gathered (rule 5), no more than this many bytes wait.
SEND_AT_ONCE = 65536
# A write of that many bytes leaves at once, after what waits: gathering saves it little, and its memory is free for the
# next connection's write. With many connections the heap grew and shrank in each turn, which cost more than the sending.
LARGE_WRITE = 4096


class StreamWriteHalf(WriteHalf):
    """The half of a StreamTransport that writes, and the socket. Threads: as a WriteHalf."""

    _kind = "socket"

    def _start_writing(self, sock: socket.socket | None) -> None:
        self._lost_writes = 1  # as on asyncio, where the loss of a socket counts as one
        self._sock: Any = sock  # by _use_socket, from None, when the object is needed
        # Set once. Its owner may use the socket, which is not seen from here: nothing is gathered.
        self._given = sock is not None and not isinstance(sock, ConnectionSocket)
        self._family = 0  # by use_family
        self.short_read = NOTHING  # by use_family, and by read_to_the_end
        self._eof_written = False  # by write_eof
        self._eof_received = False  # by the reading half: nothing more is read
        self._aborted = False  # by abort
        # By make_ and reset_empty_waiter: nobody writes meanwhile.
        self._empty_waiter: asyncio.Future[None] | None = None
        self._sender: Callable[[], object] | None = None  # by set_sender: called when there is room
        self._rates: Rates | None = None  # by use_rates: how fast it may be; None is without a limit

    # The socket

    def use_family(self, family: int, short_read: int) -> None:
        """Set the kind of socket, and what a short read says of it: ``short_reads_of_kind``."""
        self._family = family
        self.short_read = short_read
        sock = sockets.object_for(self.fd, self._sock, family)
        if sock is not None:
            self._use_socket(sock)

    def read_to_the_end(self) -> None:
        """Let only EAGAIN say that the socket is empty (rule 2), from now on: the kernel has taken on TLS."""
        self.short_read = NOTHING

    def _use_socket(self, sock: socket.socket) -> None:
        self._sock = sock
        if isinstance(sock, ConnectionSocket):
            sock.belong_to(self)  # it says when it is closed: asking for each call costs 200 instructions
        else:
            self._ask = sock.fileno

    def ask_for_number(self, fileno: Callable[[], int]) -> None:
        """The socket is being closed or detached: ask it for its number before each call from now on (rule 9)."""
        self._ask = fileno

    def open_socket(self) -> socket.socket:
        """The socket object; it owns the descriptor from now on."""
        if self._sock is None:
            sock = new_socket(-1, -1, -1, self.fd)  # what it is the kernel tells
            sock.setblocking(False)
            self._use_socket(sock)
        return self._sock  # type: ignore[no-any-return]

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data, after what was written before. Never blocks; never calls the protocol's connection_lost.

        Raises TypeError for anything but bytes, bytearray, memoryview; RuntimeError after ``write_eof``.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = interpreter.to_bytes(data)  # it may leave later, and its owner may change it before
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if not data:
            return
        # ``_append``, whose call would cost an echo a percent: from len() to the append there is no call.
        self._write_buffer_size = len(data) + self._write_buffer_size
        if self._state >= base.LOST:
            self._write_buffer_size = 0
            self._count_lost_write("socket.send() raised exception.")
            return
        appended = False
        try:
            self._write_buffer.append(data)
            appended = True
        finally:
            if not appended:  # MemoryError
                self._write_buffer_size -= len(data)
        if (
            len(data) < LARGE_WRITE
            and self.writable
            and self._write_buffer_size <= self._high_water
            and self._write_buffer_size <= SEND_AT_ONCE
            and self._reactor.may_gather(self)
            and not (self.flush_queued and self._reactor.is_overdue(self))
        ):
            self._reactor.schedule_flush(self)  # most writes are such: the pure edition saves a call
        else:
            self._leave(len(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send all the chunks with one system call. Raises as ``write`` does."""
        self._check_writelines()
        chunks = list(list_of_data)
        for data in chunks:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        owned = [data if type(data) is bytes else interpreter.to_bytes(data) for data in chunks]
        self._check_writelines()  # again: the iterable, or a buffer's owner, may have ended the connection
        if self._state >= base.LOST:
            if owned:
                self._count_lost_write("socket.send() raised exception.")
            return
        size = self._write_buffer_size
        for data in owned:
            if data:
                self._append(data, len(data))
        if self._write_buffer:
            self._leave(self._write_buffer_size - size)

    def _check_writelines(self) -> None:
        if self._eof_written:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")

    def _leave(self, size: int) -> None:
        # A write leaves at once, unless it is small and the connection has earned gathering (rule 5).
        if self.writable:
            if (
                size >= LARGE_WRITE
                or self._write_buffer_size >= SEND_AT_ONCE
                or self._write_buffer_size > self._high_water
            ):
                self._send()
                if self._protocol_paused:
                    self._have_resumed()
            elif self._reactor.may_gather(self) and not (self.flush_queued and self._reactor.is_overdue(self)):
                self._reactor.schedule_flush(self)
            else:
                self._send()
                if self._protocol_paused:
                    self._have_resumed()
                elif self._reactor.thread and not self._given and self._reactor.may_send():
                    self._reactor.schedule_flush(self)  # to earn it
        if self._write_buffer_size > self._high_water:
            self._maybe_pause_protocol()

    def _have_resumed(self) -> None:
        # The reactor resumes the protocol, when the callback has ended or the loop runs again.
        self._reactor.schedule_flush(self)
        if not self._reactor.may_send():
            self._reactor.wake()  # written from another thread

    def _send_write_buffer(self) -> None:
        fd = self._number()
        if self._rates is not None and self._rates.limits_writing() and not self._send_some(fd):
            return  # ``go_on`` is called, or the kernel reports that there is room
        while self._write_buffer:
            chunks = len(self._write_buffer)
            if chunks == 1:
                count = sockets.send(fd, self._sock, self._write_buffer[0])
            else:
                count = sockets.send_many(fd, self._sock, self._write_buffer)
            counts = self._reactor.counts
            counts.send += 1
            if count > 0:
                counts.bytes_out += count
            if count < 0 or self._drop_sent(count, chunks) < min(chunks, calls.MAX_CHUNKS):
                self._wait_writable()
                return
        if self._eof_written or self._empty_waiter is not None:
            self._on_drained()

    def _send_some(self, fd: int) -> bool:
        # As far as the rate allows. Return True if all has left.
        assert self._rates is not None
        while self._write_buffer:
            size = self.may_send(self._write_buffer_size)
            if not size:
                return False  # held: ``go_on`` is called
            pieces = rates.first_bytes(self._write_buffer, size, calls.MAX_CHUNKS)
            size = sum(map(len, pieces))
            count = sockets.send_many(fd, self._sock, pieces)
            self._reactor.counts.send += 1
            if count > 0:
                self._reactor.counts.bytes_out += count
                self._rates.has_written(count)
                self._drop_sent(count, len(self._write_buffer))
            if count < size:
                self._wait_writable()
                return False
        return True

    def _on_drained(self) -> None:
        if self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_result(None)
        if self._state != base.OPEN:
            WriteHalf._on_drained(self)
        elif self._eof_written:
            self._shutdown_write()

    def write_eof(self) -> None:
        """Close the sending half once what was written has left: the peer reads the end, and may go on sending."""
        if self._state != base.OPEN or self._eof_written:
            return
        self._eof_written = True
        if not self._write_buffer:
            self._shutdown_write()
        elif self.writable:
            self._send()

    def can_write_eof(self) -> bool:
        """True: a stream socket has two halves."""
        return True

    def _shutdown_write(self) -> None:
        self._reactor.request_poll()
        try:
            self.open_socket().shutdown(socket.SHUT_WR)
        except OSError as exc:
            # ENOTCONN: the peer has reset the connection. Linux keeps what was received before: that is still
            # to be read, and then the reset.
            if exc.errno != errno.ENOTCONN or self._eof_received:
                self._fatal_error(exc, "Fatal error on shutting down the sending half")

    # A file in between, by sendfile(2)

    def make_empty_waiter(self) -> asyncio.Future[None]:
        """A future that is done when what was written has left. RuntimeError for a second one.

        Until ``reset_empty_waiter`` is called, ``write`` raises RuntimeError.
        """
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self.push()
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._empty_waiter = waiter
        if not self._write_buffer:
            waiter.set_result(None)
        return waiter

    def reset_empty_waiter(self) -> None:
        """Let ``write`` work again."""
        self._empty_waiter = None

    def set_sender(self, sender: Callable[[], object] | None) -> None:
        """Call ``sender()`` in each turn in which the socket has room, and once after its end; None to stop that."""
        self._sender = sender
        if sender is not None and self.writable and self.added and (self._rates is None or not self._rates.write_held):
            self._reactor.defer(self)

    def count_sent(self, count: int) -> None:
        """The sender has sent so many bytes."""
        self._reactor.request_poll()
        self.bytes_sent += count
        if self._rates is not None:
            self._rates.has_written(count)

    def wait_writable(self) -> None:
        """The socket takes no more: ask the kernel to report when there is room (rule 4)."""
        self.writable = False
        if self.added:
            self._reactor.rearm(self, calls.INTEREST_STREAM | calls.INTEREST_WRITE)

    # No faster than its server allows

    def use_rates(self, rates: Rates) -> None:
        """Read and write no faster than that, from now on."""
        self._rates = rates

    def may_send(self, size: int) -> int:
        """Return how many of ``size`` bytes the rate allows now. 0: none, and the transport goes on later."""
        return size if self._rates is None else self._rates.may_write(size)

    def go_on(self) -> None:
        """The rates allow bytes again."""
        self._reactor.defer(self)

    def abort(self) -> None:
        """Close without waiting: what the kernel won't take at once is lost."""
        self._aborted = True
        if self._write_buffer and self.writable and self._state < base.LOST and not self._sending:
            self._reactor.request_poll()
            try:
                # What is gathered, asyncio has sent by now.
                pieces = self._write_buffer
                if self._rates is not None:
                    pieces = rates.first_bytes(pieces, self.may_send(self._write_buffer_size), calls.MAX_CHUNKS)
                self._reactor.counts.send += 1
                sockets.send_many(self._number(), self._sock, pieces)
            except OSError:
                pass  # connection_lost(None) follows all the same
        self._force_close(None)
