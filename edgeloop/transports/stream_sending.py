"""The sending half of the stream transport."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

from ..kernel import calls, interpreter, sockets
from ..kernel.connection_socket import ConnectionSocket, new_socket
from . import flow
from .flow import WriteHalf

# Where writes are gathered (rule 5), not more than this is held back.
SEND_AT_ONCE = 65536
# A large write goes at once, with what waits before it: it has little to gain, and held back its memory is not free for
# the next connection's. With many connections the heap grew and shrank in each turn, which cost more than the sending.
LARGE_WRITE = 4096


class StreamSender(WriteHalf):
    """What a StreamTransport does to send."""

    _sock: Any  # a socket object, or None

    def _start_sending(self) -> None:
        self._start_empty()
        self._eof_written = False
        self._empty_waiter: asyncio.Future[None] | None = None
        self._sender: Callable[[], object] | None = None
        self._ask: Callable[[], int] | None = None
        self._given = False  # somebody else has the socket, and may do with it what we don't see: nothing is gathered
        self._sending = False  # what destructors and signal handlers write in the middle of it is only appended

    def _number(self) -> int:
        # The descriptor, for the next system call. Who has the socket object may have closed or detached it (rule 9).
        if self.fd < 0 or (self._ask is not None and self._ask() != self.fd):
            raise sockets.closed_by_owner()
        return self.fd

    def _use_socket(self, sock: socket.socket) -> None:
        self._sock = sock
        # Kept: to look the method up for each call costs more than to call it.
        self._ask = sock.belong_to(self) if isinstance(sock, ConnectionSocket) else sock.fileno

    def open_socket(self) -> socket.socket:
        """The socket object; it owns the descriptor from now on."""
        if self._sock is None:
            sock = new_socket(-1, -1, -1, self.fd)  # what it is the kernel tells
            sock.setblocking(False)
            self._use_socket(sock)
        return self._sock  # type: ignore[no-any-return]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data, after what was written before. Never blocks; never calls the protocol's connection_lost.

        Raises TypeError for anything but bytes, bytearray, memoryview; RuntimeError after ``write_eof``.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = bytes(
                memoryview(data)
            )  # it may leave later, and its owner change it before; items may have any size
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if not data:
            return
        if self._lost:
            self._count_lost_write()
            return
        size = len(data)
        self._backlog.append(data)
        self._backlog_size += size
        if (
            size < LARGE_WRITE
            and self.writable
            and self._backlog_size <= self._high_water
            and self._backlog_size <= SEND_AT_ONCE
            and self._reactor.may_gather(self)
        ):
            self._reactor.mark(self)  # as most are: the pure edition is spared a call
        else:
            self._leave(size)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send all the chunks with one system call. Raises as ``write`` does."""
        self._check_writelines()
        chunks = list(list_of_data)
        for data in chunks:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        owned = [data if type(data) is bytes else bytes(memoryview(data)) for data in chunks]
        self._check_writelines()  # again: what made the chunks, and gave their bytes, may have ended the connection
        if self._lost:
            if owned:
                self._count_lost_write()
            return
        size = self._backlog_size
        for data in owned:
            if data:
                self._backlog.append(data)
                self._backlog_size += len(data)
        if self._backlog:
            self._leave(self._backlog_size - size)

    def _check_writelines(self) -> None:
        if self._eof_written:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")

    def _leave(self, size: int) -> None:
        # At once, unless it is little, and the connection has earned that more is gathered first (rule 5).
        if self.writable:
            if size >= LARGE_WRITE or self._backlog_size >= SEND_AT_ONCE or self._backlog_size > self._high_water:
                self._send()
                if self._protocol_paused:
                    self._have_resumed()
            elif self._reactor.may_gather(self):
                self._reactor.mark(self)
            else:
                self._send()
                if self._protocol_paused:
                    self._have_resumed()
                elif self._reactor.thread and not self._given and self._reactor.may_send():
                    self._reactor.mark(self)  # to earn it
        if self._backlog_size > self._high_water:
            self._maybe_pause_protocol()

    def _have_resumed(self) -> None:
        # The reactor resumes the protocol, when the callback has ended or the loop runs again.
        self._reactor.mark(self)
        if not self._reactor.may_send():
            self._reactor.wake()  # written from another thread

    def _send(self) -> None:
        if self._sending:
            self._reactor.mark(self)
            return
        self._sending = True
        self._reactor.stirred = True
        try:
            fd = self._number()
            while self._backlog:
                chunks = len(self._backlog)
                if chunks == 1:
                    count = sockets.send(fd, self._sock, self._backlog[0])
                else:
                    count = sockets.send_many(fd, self._sock, self._backlog)
                if count < 0 or self._sent(count, chunks) < min(chunks, calls.MOST_CHUNKS):
                    self.writable = False
                    if self.added and not self.interest & calls.INTEREST_WRITE:
                        self._reactor.rearm(self, calls.INTEREST_STREAM | calls.INTEREST_WRITE)
                    return
        except BaseException as exc:
            self._sending = False
            self._fatal_error(exc, "Fatal write error on socket transport")
            return
        finally:
            self._sending = False
        if self._closing or self._eof_written or self._empty_waiter is not None:
            self._emptied()

    def _sent(self, count: int, chunks: int) -> int:
        # No list takes the other's place: to make one may run a destructor that writes.
        self._backlog_size -= count
        if self._backlog_size == 0:
            interpreter.drop_first(self._backlog, chunks)
            return chunks
        return flow.drop_sent(self._backlog, count)

    def _emptied(self) -> None:
        if self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_result(None)
        if self._closing:
            self._lose_when_closing()
        elif self._eof_written:
            self._shutdown_write()

    def write_eof(self) -> None:
        """Close our half once what was written has left: the peer reads the end, and we read on."""
        if self._closing or self._eof_written:
            return
        self._eof_written = True
        if not self._backlog:
            self._shutdown_write()
        elif self.writable:
            self._send()

    def can_write_eof(self) -> bool:
        """True: a stream socket has two halves."""
        return True

    def _shutdown_write(self) -> None:
        try:
            self.open_socket().shutdown(socket.SHUT_WR)
        except OSError as exc:
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
        if not self._backlog:
            waiter.set_result(None)
        return waiter

    def reset_empty_waiter(self) -> None:
        """Let ``write`` work again."""
        self._empty_waiter = None

    def set_sender(self, sender: Callable[[], object] | None) -> None:
        """Call ``sender()`` in each turn in which the socket has room, and once after its end; None to stop that."""
        self._sender = sender
        if sender is not None and self.writable and self.added:
            self._reactor.defer(self)

    def wait_for_room(self) -> None:
        """The socket has taken all it can: ask the kernel to tell when there is room (rule 4)."""
        self.writable = False
        if self.added:
            self._reactor.rearm(self, calls.INTEREST_STREAM | calls.INTEREST_WRITE)

    def abort(self) -> None:
        """Close without waiting: what the kernel won't take at once is lost."""
        if self._backlog and self.writable and not self._lost and not self._sending:
            try:
                # Gathered: the stdlib's loop has sent it by now.
                sockets.send_many(self._number(), self._sock, self._backlog)
            except OSError:
                pass  # whoever aborts doesn't ask
        self._force_close(None)
