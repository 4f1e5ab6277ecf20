"""The sending half of the datagram transport.

The first message of a turn leaves at once, as asyncio's users expect; what the same turn sends after it leaves together
when the turn ends (rule 5).
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from .. import kernel, kernel_datagram
from .flow import WriteHalf

SEND_AT_ONCE = 64  # messages a turn gathers before some leave: more have nothing to gain
# After which a Unix socket looks whether another's full queue has room: each time twice as long, up to the second.
FIRST_RETRY_SECONDS = 0.0001
MOST_RETRY_SECONDS = 0.01

# From 3.13 on asyncio sends empty datagrams, and counts a header for each that waits.
_SENDS_EMPTY = sys.version_info >= (3, 13)
_HEADER_SIZE = 8 if _SENDS_EMPTY else 0


class DatagramSender(WriteHalf):
    """What a DatagramTransport does to send."""

    _sock: socket.socket
    _family: int
    _connected: bool
    _address: Any

    def _start_sending(self) -> None:
        self._start_empty()
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send one datagram to ``addr``, by default where the transport was made for. Never blocks.

        Before Python 3.13 an empty one is not sent. Raises TypeError for anything but bytes, bytearray, memoryview;
        ValueError for another address than the transport was made for. What the system call raises goes to
        ``error_received``; a host name in place of an address is looked up by it, and that blocks.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = bytes(data)  # it may leave when the turn ends, and its owner may change it before
        if not data and not _SENDS_EMPTY:
            return
        if self._address:
            if addr is not None and addr != self._address:
                raise ValueError(f"Invalid address: must be None or {self._address}")
            addr = self._address
        if self._lost:
            self._count_lost_write()
            return
        if self._connected:
            addr = None
        elif addr is None:
            exc = TypeError("sendto() needs an address: the socket is not connected")
            self._fatal_error(exc, "Fatal write error on datagram transport")
            return
        # While the loop does not run there is no turn to wait for the end of.
        is_first = not self._backlog and self.writable and (not self.marked or self._loop._thread_id is None)
        if is_first and self._sent_first(data, addr):
            return
        self._backlog.append((data, addr))
        self._backlog_size += len(data) + _HEADER_SIZE
        if self.writable:
            if len(self._backlog) >= SEND_AT_ONCE or self._backlog_size > self._high_water:
                self._send()
            self._reactor.mark(self)
        if self._backlog_size > self._high_water:
            self._maybe_pause_protocol()

    def _sent_first(self, data: bytes, addr: Any) -> bool:
        # Whether the message is done with; if not, it has to wait.
        self._reactor.mark(self)
        try:
            if kernel_datagram.send_datagram(self.fd, self._family, self._sock, data, addr):
                return True
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._refused(exc)
            return True
        self._wait_for_room()
        return False

    def _send(self) -> None:
        self._reactor.stirred = True
        done = 0
        while done < len(self._backlog):
            done, error = kernel_datagram.send_datagrams(self.fd, self._family, self._sock, self._backlog, done)
            if error is None:
                if done < len(self._backlog):
                    self._wait_for_room()
                break
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                self._drop_sent(done)
                self._reactor.mark(self)
                raise error
            done += 1  # that one alone; the others go on
            self._refused(error)
        self._drop_sent(done)
        if not self._backlog:
            self._emptied()

    def _drop_sent(self, count: int) -> None:
        if count:
            self._retry_seconds = FIRST_RETRY_SECONDS
        if count >= len(self._backlog):
            self._backlog = []
            self._backlog_size = 0
            return
        for data, _ in self._backlog[:count]:
            self._backlog_size -= len(data) + _HEADER_SIZE
        del self._backlog[:count]

    def _wait_for_room(self) -> None:
        self.writable = False
        if self._family == socket.AF_UNIX and not self._connected:
            # The other's queue is full. EPOLLOUT speaks of our own room, and each failed attempt raises it anew.
            if self._retry is None:
                self._retry = self._loop.call_later(self._retry_seconds, self._try_again)
                self._retry_seconds = min(2 * self._retry_seconds, MOST_RETRY_SECONDS)
        elif self.added and not self.interest & kernel.INTEREST_WRITE:
            self._reactor.rearm(self, kernel.INTEREST_READ | kernel.INTEREST_WRITE)

    def _try_again(self) -> None:
        self._retry = None
        if not self._lost:
            self.writable = True
            self._reactor.mark(self)

    def _refused(self, exc: BaseException) -> None:
        # One message could not be sent. The protocol is told in a turn of its own, never from within sendto().
        if isinstance(exc, OSError):
            self._loop.call_soon(self._tell_error, exc, context=self._context)
        else:
            self._fatal_error(exc, "Fatal write error on datagram transport")

    def _tell_error(self, exc: OSError) -> None:
        if self._protocol is not None:
            self._protocol.error_received(exc)

    def _emptied(self) -> None:
        self._lose_when_closing()

    def abort(self) -> None:
        """Close without waiting: what the kernel won't take at once is lost."""
        if self._backlog and self.writable and not self._lost:
            # Sent in this turn: the stdlib's loop has done it by now. Whoever aborts does not ask what came of it.
            kernel_datagram.send_datagrams(self.fd, self._family, self._sock, self._backlog, 0)
        self._force_close(None)
