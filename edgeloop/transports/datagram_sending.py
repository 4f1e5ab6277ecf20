"""The sending half of the datagram transport.

A message leaves before ``sendto`` returns, as on asyncio. Two kinds are gathered for one sendmmsg (rule 5): the answers to
datagrams that arrived together, and those of a transport that sends many in a turn. None of them waits longer than
LONGEST_WAIT for another's callback; a callback that goes on computing after it has sent costs its transport the right.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterable
from typing import Any

from ..core.failures import INTERRUPTIONS
from ..kernel import calls, datagrams, interpreter, pipes
from .flow import WriteHalf

SEND_AT_ONCE = 64  # messages gathered before some leave: more have nothing to gain
LONGEST_WAIT = 100e-6  # seconds
LATE = 1e-3  # a message that was gathered and waited so long was late
EARNED = 64  # so many messages of turns that send several have left one by one: now they are gathered
FORFEITED = -1000  # one was late: so many leave one by one until answers are gathered again
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
    _given: bool

    def _start_sending(self) -> None:
        self._start_empty()
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._answering = False  # datagrams that arrived together are being delivered
        self._sending = False
        self._trust = 0  # from EARNED on what a turn sends is gathered, below zero not even answers
        self._turn = 0  # in which the last message left
        self._gathered_at = 0.0  # when the oldest was that is gathered; 0: none is

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send one datagram to ``addr``, by default where the transport was made for. Never blocks.

        Before Python 3.13 an empty one is not sent. Raises TypeError for anything but bytes, bytearray, memoryview;
        ValueError for another address than the transport was made for. What the system call raises goes to
        ``error_received``; a host name in place of an address is looked up by it, and that blocks.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = memoryview(data).tobytes()  # its owner may change it before it leaves
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
        if not self._backlog and self.writable and not self._may_gather():
            self._send_first(data, addr)
            return
        self._keep(data, addr)
        if self.writable:
            self._gather()
        if self._backlog_size > self._high_water:
            self._maybe_pause_protocol()

    def _may_gather(self) -> bool:
        reactor = self._reactor
        if self._answering:
            if self._trust < 0:
                self._trust += 1
                return False
        elif self._turn != reactor.batch:
            self._turn = reactor.batch
            return False
        elif self._trust < EARNED:
            self._trust += 1
            return False
        # Another thread, or no turn whose end could be waited for: it leaves at once.
        return interpreter.is_this_thread(self._loop._thread_id)

    def _keep(self, data: bytes, addr: Any) -> None:
        self._backlog.append((data, addr))
        self._backlog_size += len(data) + _HEADER_SIZE

    def _gather(self) -> None:
        # There is room: the message waits only for others to come along.
        if not self._gathered_at:
            self._gathered_at = calls.now()
            self._reactor.mark(self)
        elif (
            len(self._backlog) >= SEND_AT_ONCE
            or self._backlog_size > self._high_water
            or calls.now() - self._gathered_at > LONGEST_WAIT
        ):
            self._send()
        if self._protocol_paused:
            self._reactor.mark(self)

    def _check_owner(self) -> None:
        if self._given:
            pipes.check_owner(self._sock, self.fd)

    def _send_first(self, data: bytes, addr: Any) -> None:
        self._reactor.stirred = True
        try:
            self._check_owner()
            if datagrams.send_datagram(self.fd, self._family, self._sock, data, addr):
                return
        except BaseException as exc:
            self._refused(exc)
            return
        self._keep(data, addr)
        self._wait_for_room()
        if self._backlog_size > self._high_water:
            self._maybe_pause_protocol()

    def _send_gathered(self) -> None:
        if self._backlog and self.writable and interpreter.is_this_thread(self._loop._thread_id):
            self._send()
            if self._protocol_paused:
                self._reactor.mark(self)

    def _send_overdue(self) -> None:
        if calls.now() - self._gathered_at > LONGEST_WAIT:
            self._send_gathered()

    def is_closing(self) -> bool:
        """Whether the transport closes or is closed. What was gathered leaves."""
        self._send_gathered()
        return self._closing

    def _send(self) -> None:
        if self._sending:
            return  # from code that a system call ran; who is at it sees what was added
        if self._gathered_at:
            if calls.now() - self._gathered_at > LATE:
                self._trust = FORFEITED
            self._gathered_at = 0.0
        self._reactor.stirred = True
        self._sending = True
        backlog = self._backlog
        done = 0
        try:
            if self._is_closed_by_owner():
                done = len(backlog)
            while done < len(backlog):
                done, error = datagrams.send_datagrams(self.fd, self._family, self._sock, backlog, done)
                if error is None:
                    if done < len(backlog) and not self._lost:
                        self._wait_for_room()
                    break
                if isinstance(error, INTERRUPTIONS):
                    self._reactor.mark(self)
                    raise error
                done += 1  # that one alone; the others go on
                self._refused(error)
        finally:
            self._sending = False
            if self._backlog is backlog:  # else it was aborted meanwhile
                self._drop_sent(done)
        if not self._backlog:
            self._emptied()

    def _is_closed_by_owner(self) -> bool:
        try:
            self._check_owner()
        except OSError as exc:
            for _ in self._backlog:
                self._refused(exc)
            return True
        return False

    def _drop_sent(self, count: int) -> None:
        if count:
            self._retry_seconds = FIRST_RETRY_SECONDS
        sent = self._backlog[:count]  # let go of at the end: an address may have a destructor, which sends
        if count >= len(self._backlog):
            self._backlog = []
            self._backlog_size = 0
        else:
            for data, _ in sent:
                self._backlog_size -= len(data) + _HEADER_SIZE
            del self._backlog[:count]
        del sent

    def _wait_for_room(self) -> None:
        self.writable = False
        if self._family == socket.AF_UNIX and not self._connected:
            # The other's queue is full. EPOLLOUT speaks of our own room, and each failed attempt raises it anew.
            if self._retry is None:
                self._retry = self._loop.call_later(self._retry_seconds, self._try_again)
                self._retry_seconds = min(2 * self._retry_seconds, MOST_RETRY_SECONDS)
        elif self.added and not self.interest & calls.INTEREST_WRITE:
            self._reactor.rearm(self, calls.INTEREST_READ | calls.INTEREST_WRITE)

    def _try_again(self) -> None:
        self._retry = None
        if not self._lost:
            self.writable = True
            self._send()
            if self._protocol_paused:
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
        if self._backlog and self.writable and not self._lost and not self._sending:
            # Gathered: the stdlib's loop has sent it by now. Whoever aborts does not ask what came of it.
            try:
                self._check_owner()
            except OSError:
                pass
            else:
                datagrams.send_datagrams(self.fd, self._family, self._sock, self._backlog, 0)
        self._force_close(None)

    # The stream's half of asyncio.Transport, which asyncio's own is as well: there is none.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Not here: NotImplementedError."""
        raise NotImplementedError

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Not here: NotImplementedError."""
        raise NotImplementedError

    def write_eof(self) -> None:
        """Not here: NotImplementedError."""
        raise NotImplementedError

    def can_write_eof(self) -> bool:
        """Not here: NotImplementedError."""
        raise NotImplementedError
