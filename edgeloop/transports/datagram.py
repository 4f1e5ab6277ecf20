"""The datagram transport: UDP and Unix datagram sockets. asyncio doc: Transports and Protocols, Datagram Transports.

What arrives is received and delivered here, and here is what a user asks of the endpoint. ``datagram_writing.py`` sends.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Iterable
from typing import Any

from .. import stdlib
from ..core.channel import Channel
from ..core.failures import INTERRUPTIONS
from ..core.schedule import Scheduler
from ..kernel import calls, datagrams, interpreter, segments
from ..watching.layout import DATAGRAM
from . import base
from .datagram_writing import DatagramWriteHalf

DELIVER_SECONDS = 100e-6  # of a turn: then the others on the loop have theirs (rule 3)
MAX_TOGETHER = (
    512  # datagrams in one call of datagrams_received: as many as a batch protocol has the time for, but no more
)


def _takes_batches(protocol: asyncio.BaseProtocol) -> bool:
    """Return True if the protocol has ``datagrams_received``. Its class is asked: a mock object has every method."""
    return callable(getattr(type(protocol), "datagrams_received", None))


class _AsyncioDatagramTransport(asyncio.Transport, asyncio.DatagramTransport):
    """What ``isinstance`` sees of a DatagramTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class DatagramTransport(DatagramWriteHalf):
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
        self._start_sending(sock, address, gso)
        if given:
            self._ask = sock.fileno
        self._transport_socket: stdlib.TransportSocket | None = None  # by get_extra_info, once: always the same object
        self._has_end = sock.type == socket.SOCK_SEQPACKET
        # Whether a batch that is not full has met EAGAIN, or an error that is its last. recvmmsg(2) of other types may
        # end for reasons of their own; of other families the messages are received one by one.
        self._certain = sock.type == socket.SOCK_DGRAM or sock.family not in (
            socket.AF_INET,
            socket.AF_INET6,
            socket.AF_UNIX,
        )
        self._sockname: Any = None
        self._arrived: list[Any] = []  # data or an error, and the address, of each
        self._gro = gro
        self._batched = _takes_batches(protocol)  # by set_protocol
        self._batch_limit = datagrams.MAX_DATAGRAMS  # by _deliver_together: so many take less than DELIVER_SECONDS
        self.fd = sock.fileno()  # last: from here on it is the transport that closes it, however it ends

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.DatagramTransport]:  # type: ignore[override]
        return _AsyncioDatagramTransport

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
                self._arrived, emptied = segments.recv_segments(self._number(), self._family, self._sock)
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
        DatagramWriteHalf.set_protocol(self, protocol)

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
