"""The datagram transport: UDP and Unix datagram sockets. asyncio doc: Transports and Protocols, Datagram Transports.

Here is how it is made, receives and gives its socket back; sending is in datagram_sending.py.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import warnings
from typing import Any

from .. import stdlib
from ..core.failures import INTERRUPTIONS
from ..core.reactor import Channel, Reactor
from ..core.schedule import Scheduler
from ..kernel import calls, datagrams, interpreter
from .datagram_sending import DatagramSender


class _DatagramFace(asyncio.Transport, asyncio.DatagramTransport):
    """What ``isinstance`` sees of a DatagramTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class DatagramTransport(DatagramSender):
    """One datagram socket. ``begin`` tells the protocol and starts reading.

    ``address``: where everything goes, None for wherever ``sendto`` says or the socket is connected to. ``given``: the
    socket object is somebody else's too, who may close it; it is asked for its number before each system call (rule 9).
    """

    def __init__(
        self,
        loop: Scheduler,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        context: contextvars.Context,
        address: Any = None,
        given: bool = True,
    ) -> None:
        Channel.__init__(self, sock.fileno())
        interpreter.attributes_on_demand(self)
        self._loop = loop
        self._reactor: Reactor = loop.reactor
        self._protocol: Any = protocol
        self._context = context
        self._sock = sock
        self._transport_socket: stdlib.TransportSocket | None = None  # the same object whenever asked
        self._family = int(sock.family)
        self._given = given
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
        self._paused = False
        self._start_sending()

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.DatagramTransport]:  # type: ignore[override]
        return _DatagramFace

    def begin(self, waiter: asyncio.Future[None] | None = None) -> None:
        """Call ``connection_made``, start reading, then tell the waiter. Runs in the transport's context."""
        try:
            self._protocol.connection_made(self)
        except BaseException as exc:
            self._report(exc, "Fatal error: protocol.connection_made() call failed.")
        finally:  # after KeyboardInterrupt too: the endpoint goes on when the loop runs again
            self._register()
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _register(self) -> None:
        if self._lost:
            return
        interest = calls.INTEREST_READ
        if not self.writable and self._retry is None:
            interest |= calls.INTEREST_WRITE
        try:
            self._check_owner()
            self._reactor.add(self, interest)
        except OSError as exc:
            self._fatal_error(exc, "Fatal error: epoll refused the socket")

    # Reading

    def on_ready(self) -> None:
        """The reactor has news, or this channel had more to do."""
        if self.readable or self._arrived:
            self._read()
        if self.writable and not self.marked:
            if self._backlog:
                self._send()
                if self._protocol_paused:
                    self._maybe_resume_protocol()
            elif not self.readable and self.interest & calls.INTEREST_WRITE and self.added:
                # Woken for nothing: that is when disarming is worth a system call (rule 4).
                self._reactor.rearm(self, calls.INTEREST_READ)

    def _read(self) -> None:
        if self._paused or self._closing:
            return
        if self.readable and not self._arrived:
            self._receive()
        if self._arrived:
            interpreter.call_none(self._context, self._deliver)

    def _receive(self) -> None:
        # One batch each turn (rule 3). With ERR in the event an error may have cut it short, and be still to be told
        # (rule 2).
        try:
            self._check_owner()
            self._arrived = datagrams.recv_datagrams(self.fd, self._family, self._sock)
        except INTERRUPTIONS:
            self._reactor.defer(self)
            raise
        except OSError as exc:  # closed behind our back: told once, as asyncio does
            self._arrived = [exc, None]
            self.readable = False
            return
        except BaseException as exc:
            self._fatal_error(exc, "Fatal read error on datagram transport")
            return
        if self._has_end and self.hung:
            self._cut_end()
        count = len(self._arrived)
        if count == 0:
            self.readable = False
            self.hung = False
        elif (
            self._certain
            and count < 2 * datagrams.MOST_DATAGRAMS
            and not self.hung
            and type(self._arrived[count - 2]) is bytes
        ):
            self.readable = False

    def _cut_end(self) -> None:
        # The end of a SOCK_SEQPACKET connection reads as an empty datagram, again and again: one tells it.
        arrived = self._arrived
        while len(arrived) > 2 and arrived[-2] == arrived[-4] == b"":
            del arrived[-2:]
        if arrived and arrived[-2] == b"":
            self.readable = False
            self.hung = False

    def _deliver(self) -> None:
        # In the transport's context, entered once for all. What is delivered is taken out first: the protocol may do
        # anything here.
        arrived = self._arrived
        self._arrived = []
        done = 0
        if len(arrived) > 2:
            self._answering = True  # what is sent in answer leaves together: not even the first at once
        try:
            while done < len(arrived):
                data = arrived[done]
                address = arrived[done + 1]
                done += 2
                try:
                    if type(data) is bytes:
                        self._protocol.datagram_received(data, address)
                    else:
                        self._protocol.error_received(data)
                except BaseException as exc:
                    self._report(exc, "Exception in a callback of the datagram protocol")
                if self._gathered_at:
                    self._send_overdue()
                if self._paused or self._closing:
                    break
        finally:
            self._answering = False
            if done < len(arrived) and not self._closing:
                self._arrived = arrived[done:] + self._arrived
            if (self._arrived or self.readable) and not self._paused and not self._closing:
                self._reactor.defer(self)
            if self._gathered_at:
                self._send_gathered()

    def is_reading(self) -> bool:
        """Whether datagrams go to the protocol now."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Stop handing datagrams to the protocol. Does nothing if reading is paused or the transport closes."""
        if self._closing or self._paused:
            return
        self._paused = True  # no system call (rule 7): what arrives meanwhile waits in the kernel
        if self._loop._debug:
            stdlib.logger().debug("%r pauses reading", self)

    def resume_reading(self) -> None:
        """Undo ``pause_reading``. Does nothing if reading isn't paused or the transport closes."""
        if self._closing or not self._paused:
            return
        self._paused = False
        if (self.readable or self._arrived) and self.added:
            self._reactor.defer(self)
        if self._loop._debug:
            stdlib.logger().debug("%r resumes reading", self)

    # The end

    def _release(self) -> None:
        if self.fd < 0:
            return
        # Whatever is let go of or closed here may run code, which finds a transport that is closed.
        self._sockname = self.get_extra_info("sockname")
        self._reactor.remove(self)
        self.fd = -1
        protocol, arrived, retry = self._protocol, self._arrived, self._retry
        self._protocol = None
        self._arrived = []
        self._retry = None
        if retry is not None:
            retry.cancel()
        self._sock.close()
        del protocol, arrived, retry

    def __del__(self) -> None:
        if self._loop is not None and self.fd >= 0:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.fd = -1
            self._sock.close()

    # Who and what

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the socket to another protocol."""
        former = self._protocol  # let go of at the end, when its destructor finds the new one here
        self._protocol = protocol
        del former

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol in charge; None when the transport is closed."""
        return self._protocol  # type: ignore[no-any-return]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``socket`` (an asyncio TransportSocket), ``sockname``, ``peername`` of a connected socket."""
        if name == "socket":
            self._send_gathered()
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
        return default

    def __repr__(self) -> str:
        words = ["DatagramTransport"]
        if self.fd < 0:
            words.append("closed")
        elif self._closing:
            words.append("closing")
        words.append(f"fd={self.fd}")
        if self.fd >= 0:
            words.append(f"read={'paused' if self._paused else 'polling'}")
            words.append(f"write=<{'polling' if self._backlog else 'idle'}, bufsize={self._backlog_size}>")
        return f"<{' '.join(words)}>"
