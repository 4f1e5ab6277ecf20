"""The datagram transport: UDP and Unix datagram sockets. asyncio doc: Transports and Protocols, Datagram Transports.

A message leaves before ``sendto`` returns, as on asyncio. Two kinds are gathered for one sendmmsg (rule 5): the answers to
datagrams that arrived together, and the messages of a transport that sends many in a turn. None waits longer than
SHORT_SECONDS for another callback. A callback that goes on computing after it has sent costs its transport the right.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
from collections.abc import Iterable
from typing import Any

from .. import stdlib
from ..core import reactor
from ..core.failures import INTERRUPTIONS, raise_interruption
from ..core.reactor import Channel
from ..core.schedule import Scheduler
from ..kernel import calls, datagrams, interpreter
from ..watching.layout import DATAGRAM
from . import base
from .flow import WriteHalf

DELIVER_SECONDS = 100e-6  # of a turn: then the others on the loop have theirs (rule 3)
MAX_TOGETHER = (
    512  # datagrams in one call of datagrams_received: as many as a batch protocol has the time for, but no more
)
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


def _takes_batches(protocol: asyncio.BaseProtocol) -> bool:
    """Return True if the protocol has ``datagrams_received``. Its class is asked: a mock object has every method."""
    return callable(getattr(type(protocol), "datagrams_received", None))


class _AsyncioDatagramTransport(asyncio.Transport, asyncio.DatagramTransport):
    """What ``isinstance`` sees of a DatagramTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class DatagramTransport(WriteHalf):
    """One datagram socket. ``begin`` calls ``connection_made`` and starts reading.

    The socket object owns the descriptor, and the transport closes it at the end: after ``close`` when all is sent, at
    once after ``abort``. ``given``: somebody else has the object too and may close it; it is asked for its number before
    each system call (rule 9). ``address``: where everything goes, None for wherever ``sendto`` says or the socket is
    connected to. ``gso`` and ``gro``: the kernel segments what is sent, and coalesces what arrives. Threads: as a WriteHalf.
    """

    _kind = "datagram"

    def __init__(
        self,
        loop: Scheduler,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        context: contextvars.Context,
        address: Any = None,
        given: bool = True,
        gso: bool = False,
        gro: bool = False,
    ) -> None:
        Channel.__init__(self, -1)
        interpreter.attributes_on_demand(self)
        self.kind = DATAGRAM
        self._start(loop, context, calls.INTEREST_READ)
        self._lost_writes = 1  # as on asyncio, where the loss of a socket counts as one
        self._protocol = protocol
        self._sock = sock
        if given:
            self._ask = sock.fileno
        self._transport_socket: stdlib.TransportSocket | None = None  # by get_extra_info, once: always the same object
        self._family = int(sock.family)
        self._has_end = sock.type == socket.SOCK_SEQPACKET
        # Whether a batch that is not full has met EAGAIN, or an error that is its last. recvmmsg(2) of other types may
        # end for reasons of their own; of other families the messages are received one by one.
        self._certain = sock.type == socket.SOCK_DGRAM or sock.family not in (
            socket.AF_INET,
            socket.AF_INET6,
            socket.AF_UNIX,
        )
        self._address = address
        self._sockname: Any = None
        self._peername: Any = None
        try:
            self._peername = sock.getpeername()
            self._connected = True  # the name of a Unix peer may be the empty string
        except OSError:
            self._connected = False
        self._arrived: list[Any] = []  # data or an error, and the address, of each
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._answering = False  # datagrams that arrived together are being delivered
        self._turn = 0  # in which the last message left
        self._gathered_at = 0.0  # when the oldest was that is gathered; 0: none is
        self._gso = gso
        self._gro = gro
        self._batched = _takes_batches(protocol)  # by set_protocol
        self._batch_limit = datagrams.MAX_DATAGRAMS  # by _deliver_together: so many take less than DELIVER_SECONDS
        self.fd = sock.fileno()  # last: from here on it is the transport that closes it, however it ends

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.DatagramTransport]:  # type: ignore[override]
        return _AsyncioDatagramTransport

    def _waits_for_room(self) -> bool:
        return not self.writable and self._retry is None

    # Reading

    def on_ready(self) -> None:
        """The reactor has an event, or this channel had more to do."""
        if self.readable or self._arrived:
            self._read()
        if self.writable and (self._write_buffer or self.interest & calls.INTEREST_WRITE):
            self._use_room()

    def _read(self) -> None:
        if self._paused or self._state != base.OPEN:
            return
        if self.readable and not self._arrived:
            self._receive()
        if self._arrived:
            interpreter.call_none(self._context, self._deliver)

    def _receive(self) -> None:
        # One batch each turn (rule 3). With ERR in the event an error may have cut it short and be still to come (rule 2).
        emptied = False
        try:
            if self._gro:
                self._arrived, emptied = datagrams.recv_segments(self._number(), self._family, self._sock)
            else:
                self._arrived = datagrams.recv_datagrams(self._number(), self._family, self._sock)
        except INTERRUPTIONS:
            self._reactor.defer(self)
            raise
        except OSError as exc:  # closed by its owner: reported once, as on asyncio
            self._arrived = [exc, None]
            self.readable = False
            return
        except BaseException as exc:
            self._fatal_error(exc, "Fatal read error on datagram transport")
            return
        self._reactor.counts.recv += 1
        if self._has_end and self.hangup:
            self._cut_end()
        count = len(self._arrived)
        if count == 0:
            self.readable = False
            self.hangup = False
        elif (
            (emptied or (self._certain and count < 2 * datagrams.MAX_DATAGRAMS and not self._gro))
            and not self.hangup
            and type(self._arrived[count - 2]) is bytes
        ):
            self.readable = False

    def _cut_end(self) -> None:
        # The end of a SOCK_SEQPACKET connection reads as an empty datagram, again and again: the protocol gets one.
        arrived = self._arrived
        while len(arrived) > 2 and arrived[-2] == arrived[-4] == b"":
            del arrived[-2:]
        if arrived and arrived[-2] == b"":
            self.readable = False
            self.hangup = False

    def _deliver(self) -> None:
        # In the transport's context, which is entered once for all. The list is taken out first: the protocol may pause,
        # close or receive here. What is not delivered when the time is over waits for the next turn (rule 3).
        if self._batched:
            self._deliver_together()
            return
        arrived = self._arrived
        self._arrived = []
        done = 0
        end = 0.0
        try:
            if len(arrived) > 2:
                self._answering = True  # what is sent in answer leaves together: not even the first at once
                end = calls.now() + DELIVER_SECONDS
            while done < len(arrived):
                data = arrived[done]
                address = arrived[done + 1]
                done += 2
                try:
                    if type(data) is bytes:
                        self._reactor.counts.bytes_in += len(data)
                        self._protocol.datagram_received(data, address)
                    else:
                        self._protocol.error_received(data)
                except BaseException as exc:
                    self._report(exc, "Exception in a callback of the datagram protocol")
                if self._gathered_at:
                    self._send_overdue()
                if self._paused or self._state != base.OPEN or (done < len(arrived) and calls.now() > end):
                    break
        finally:
            self._after_delivery(arrived, done)

    def _deliver_together(self) -> None:
        # To a protocol that takes lists. What a list costs is not known before: the next is shorter if it took too long.
        arrived = self._arrived
        self._arrived = []
        done = 0
        try:
            began = calls.now()
            end = began + DELIVER_SECONDS
            self._answering = len(arrived) > 2
            while done < len(arrived):
                together = []
                last = min(len(arrived), done + 2 * self._batch_limit)
                while done < last and type(arrived[done]) is bytes:
                    data = arrived[done]
                    self._reactor.counts.bytes_in += len(data)
                    together.append((data, arrived[done + 1]))
                    done += 2
                try:
                    if together:
                        self._protocol.datagrams_received(together)
                    else:
                        done += 2
                        self._protocol.error_received(arrived[done - 2])
                except BaseException as exc:
                    self._report(exc, "Exception in a callback of the datagram protocol")
                if self._gathered_at:
                    self._send_overdue()
                now = calls.now()
                if now - began > DELIVER_SECONDS:
                    self._batch_limit = max(1, len(together) // 2)
                elif len(together) == self._batch_limit and now - began < DELIVER_SECONDS / 4:
                    self._batch_limit = min(2 * self._batch_limit, MAX_TOGETHER)
                if self._paused or self._state != base.OPEN or now > end:
                    break
                began = now
        finally:
            self._after_delivery(arrived, done)

    def _after_delivery(self, arrived: list[Any], done: int) -> None:
        self._answering = False
        if done < len(arrived) and self._state == base.OPEN:
            interpreter.drop_first(arrived, done)
            arrived.extend(self._arrived)
            self._arrived = arrived
        if (self._arrived or self.readable) and self.is_reading():
            self._reactor.defer(self)
        if self._gathered_at:
            self.push()

    def _has_input(self) -> bool:
        return self.readable or bool(self._arrived)

    # Sending

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
            or calls.now() - self._gathered_at > reactor.SHORT_SECONDS
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
        if calls.now() - self._gathered_at > reactor.SHORT_SECONDS:
            self.push()

    def _send_write_buffer(self) -> None:
        if self._gathered_at:
            if calls.now() - self._gathered_at > reactor.LONG_SECONDS:
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
            return datagrams.send_segments(self.fd, self._family, self._sock, self._write_buffer, first)
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

    # The end

    def _before_release(self) -> None:
        self._sockname = self.get_extra_info("sockname")

    def _on_release(self) -> None:
        arrived, retry = self._arrived, self._retry
        self._arrived = []
        self._retry = None
        if retry is not None:
            retry.cancel()
        del arrived, retry

    def _give_back(self, fd: int) -> None:
        self._sock.close()

    # Who and what

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the endpoint to another protocol."""
        self._batched = _takes_batches(protocol)
        WriteHalf.set_protocol(self, protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``socket`` (an asyncio TransportSocket), ``sockname``, ``peername`` of a connected socket; ``gso``, ``gro``."""
        if name == "socket":
            self.push()
            if self._transport_socket is None:
                self._transport_socket = stdlib.TransportSocket(self._sock)
            return self._transport_socket
        if name == "peername":
            return self._peername if self._peername is not None else default
        if name == "sockname":
            if self.fd >= 0:  # asked each time: an unbound socket gets its port when it first sends
                try:
                    return self._sock.getsockname()
                except OSError:
                    return default
            return self._sockname if self._sockname is not None else default
        if name == "gso":
            return self._gso
        if name == "gro":
            return self._gro
        return default

    def __repr__(self) -> str:
        words = ["DatagramTransport"]
        if self.fd < 0:
            words.append("closed")
        elif self._state != base.OPEN:
            words.append("closing")
        words.append(f"fd={self.fd}")
        if self.fd >= 0:
            words.append(f"read={'paused' if self._paused else 'polling'}")
            words.append(f"write=<{'polling' if self._write_buffer else 'idle'}, bufsize={self._write_buffer_size}>")
        return f"<{' '.join(words)}>"

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
