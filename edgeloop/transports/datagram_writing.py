"""The half of a datagram transport that sends. ``datagram.py`` receives, and says whose bytes wait for whose.

A message leaves before ``sendto`` returns, as on asyncio. Two kinds are gathered for one sendmmsg (rule 5): the answers to
datagrams that arrived together, and the messages of a transport that sends many in a turn. None waits longer than
SHORT_SECONDS for another callback. A callback that goes on computing after it has sent costs its transport the right.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from ..core import gathering
from ..core.failures import raise_interruption
from ..kernel import calls, datagrams, interpreter, segments
from . import base
from .flow import WriteHalf

SEND_AT_ONCE = 64  # so many gathered messages leave: waiting for more saves nothing
# The channel's credit: from EARNED on, what a turn sends is gathered; below zero, not even answers.
EARNED = 64  # so many messages of turns that send several have left one by one: now they are gathered
FORFEITED = -1000  # one was late: so many leave one by one until answers are gathered again
# How long a Unix socket waits before it tries another's full queue again: each time twice as long, up to the second.
FIRST_RETRY_SECONDS = 0.0001
MAX_RETRY_SECONDS = 0.01

# From 3.13 on asyncio sends empty datagrams, and counts a header for each that waits.
_SENDS_EMPTY = sys.version_info >= (3, 13)
_HEADER_SIZE = 8 if _SENDS_EMPTY else 0


class DatagramWriteHalf(WriteHalf):
    """The messages that wait, and how they leave."""

    def _start_sending(self, sock: socket.socket, address: Any, gso: bool) -> None:
        self._sock = sock
        self._family = int(sock.family)
        self._address = address
        self._gso = gso
        self._peername: Any = None
        try:
            self._peername = sock.getpeername()
            self._connected = True  # the name of a Unix peer may be the empty string
        except OSError:
            self._connected = False
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._answering = False  # datagrams that arrived together are being delivered
        self._turn = 0  # in which the last message left
        self._gathered_at = 0.0  # when the oldest was that is gathered; 0: none is

    def _waits_for_room(self) -> bool:
        return not self.writable and self._retry is None

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send one datagram to ``addr``, by default where the transport was made for. Never blocks.

        Before Python 3.13 an empty one is not sent. Raises TypeError for anything but bytes, bytearray, memoryview;
        ValueError for another address than the transport was made for. What the system call raises goes to
        ``error_received``; a host name in place of an address is looked up by it, and that blocks.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = interpreter.to_bytes(data)  # its owner may change it before it leaves
        if not data and not _SENDS_EMPTY:
            return
        if self._address:
            if addr is not None and addr != self._address:
                raise ValueError(f"Invalid address: must be None or {self._address}")
            addr = self._address
        if self._state >= base.LOST:
            self._count_lost_write("socket.send() raised exception.")
            return
        if self._connected:
            addr = None
        elif addr is None:
            exc = TypeError("sendto() needs an address: the socket is not connected")
            self._fatal_error(exc, "Fatal write error on datagram transport")
            return
        if not self._write_buffer and self.writable and not self._may_gather():
            self._send_first(data, addr)
            return
        if self.writable and addr is not None and not datagrams.is_plain(self._family, addr):
            # What is wrong with it ends the transport before anything else is delivered, and a name is looked up by this call.
            self.push()
            if self._state >= base.LOST:
                return
            if not self._write_buffer and self.writable:
                self._send_first(data, addr)
                return
        self._keep(data, addr)
        if self.writable:
            self._gather()
        if self._write_buffer_size > self._high_water:
            self._maybe_pause_protocol()

    def _may_gather(self) -> bool:
        if self._answering:
            if self.credit < 0:
                self.credit += 1
                return False
        elif self._turn != self._reactor.iteration:
            self._turn = self._reactor.iteration
            return False
        elif self.credit < EARNED:
            self.credit += 1
            return False
        # From another thread, or while the loop does not run, a message leaves at once.
        return self._reactor.thread == interpreter.this_thread()

    def _keep(self, data: bytes, addr: Any) -> None:
        self._append((data, addr), len(data) + _HEADER_SIZE)

    def _gather(self) -> None:
        # There is room: the message waits for others only.
        if not self._gathered_at:
            self._gathered_at = calls.now()
            self._reactor.schedule_flush(self)
        elif (
            len(self._write_buffer) >= SEND_AT_ONCE
            or self._write_buffer_size > self._high_water
            or calls.now() - self._gathered_at > gathering.SHORT_SECONDS
        ):
            self._send()
        if self._protocol_paused:
            self._reactor.schedule_flush(self)

    def _send_first(self, data: bytes, addr: Any) -> None:
        self._reactor.request_poll()
        try:
            self._reactor.counts.send += 1
            if datagrams.send_datagram(self._number(), self._family, self._sock, data, addr):
                self._reactor.counts.bytes_out += len(data)
                return
        except BaseException as exc:
            self._refused(exc)
            return
        self._keep(data, addr)
        self._wait_writable()
        if self._write_buffer_size > self._high_water:
            self._maybe_pause_protocol()

    def _send_overdue(self) -> None:
        if calls.now() - self._gathered_at > gathering.SHORT_SECONDS:
            self.push()

    def _send_write_buffer(self) -> None:
        if self._gathered_at:
            if calls.now() - self._gathered_at > gathering.LONG_SECONDS:
                self.credit = FORFEITED
            self._gathered_at = 0.0
        done = refused = 0
        try:
            if self._is_closed_by_owner():
                done = len(self._write_buffer)
                refused = self._write_buffer_size - done * _HEADER_SIZE
            while done < len(self._write_buffer):
                self._reactor.counts.send += 1
                done, error = self._send_messages(done)
                if error is None:
                    if done < len(self._write_buffer) and self._state < base.LOST:
                        self._wait_writable()
                    break
                raise_interruption(error)
                refused += len(self._write_buffer[done][0])
                done += 1  # that one alone; the others go on
                self._refused(error)
        finally:
            self._drop_messages(done, refused)

    def _send_messages(self, first: int) -> tuple[int, BaseException | None]:
        if self._gso:
            return segments.send_segments(self.fd, self._family, self._sock, self._write_buffer, first)
        return datagrams.send_datagrams(self.fd, self._family, self._sock, self._write_buffer, first)

    def _is_closed_by_owner(self) -> bool:
        try:
            self._number()
        except OSError as exc:
            for _ in self._write_buffer:
                self._refused(exc)
            return True
        return False

    def _drop_messages(self, count: int, refused: int) -> None:
        # The list is neither copied nor replaced: to make another may run a collection, and a destructor that sends. What
        # that sends is behind the first ``count``, as long as ``_sending`` keeps it from leaving before they are dropped.
        if count:
            self._retry_seconds = FIRST_RETRY_SECONDS
        size = self._write_buffer_size
        if count < len(self._write_buffer):
            size = 0
            left = count
            for data, _ in self._write_buffer:
                if not left:
                    break
                left -= 1
                size += len(data) + _HEADER_SIZE
        if self._state < base.LOST:  # else it was aborted meanwhile, and has nothing any more
            self._write_buffer_size -= size
            self._reactor.counts.bytes_out += size - count * _HEADER_SIZE - refused
        interpreter.drop_first(self._write_buffer, count)

    def _wait_writable(self) -> None:
        self.writable = False
        if self._family == socket.AF_UNIX and not self._connected:
            # The receiver's queue is full. EPOLLOUT is about the sender's own buffer, and each failed attempt raises it.
            if self._retry is None:
                self._retry = self._loop.call_later(self._retry_seconds, self._try_again)
                self._retry_seconds = min(2 * self._retry_seconds, MAX_RETRY_SECONDS)
        else:
            WriteHalf._wait_writable(self)

    def _try_again(self) -> None:
        self._retry = None
        if self._state < base.LOST:
            self.writable = True
            self._send()
            if self._protocol_paused:
                self._reactor.schedule_flush(self)

    def _refused(self, exc: BaseException) -> None:
        # One message could not be sent. error_received is called in the next turn, never from within sendto().
        if isinstance(exc, OSError):
            self._loop.call_soon(self._call_error_received, exc, context=self._context)
        else:
            self._fatal_error(exc, "Fatal write error on datagram transport")

    def _call_error_received(self, exc: OSError) -> None:
        if self._protocol is not None:
            self._protocol.error_received(exc)

    def abort(self) -> None:
        """Close without waiting: what the kernel won't take at once is lost."""
        if self._write_buffer and self.writable and self._state < base.LOST and not self._sending:
            # What is gathered, asyncio has sent by now.
            self._reactor.request_poll()
            self._sending = True
            try:
                self._number()
                self._send_messages(0)
            except OSError:
                pass
            finally:
                self._sending = False
        self._force_close(None)
