"""The datagram transport: UDP and Unix datagram sockets. asyncio doc: Transports and Protocols, Datagram Transports.

The first message of a turn leaves at once, as asyncio's users expect; what the same turn sends after it leaves together
when the turn ends (rule 5).
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
import warnings
from typing import Any

from .. import kernel, kernel_datagram, stdlib
from ..reactor import Channel, Reactor
from ..schedule import Scheduler

Message = tuple[bytes, Any]

DEFAULT_HIGH_WATER = 65536
SEND_AT_ONCE = 64  # messages a turn gathers before some leave: more have nothing to gain
# After which a Unix socket looks whether another's full queue has room: each time twice as long, up to the second.
FIRST_RETRY_SECONDS = 0.0001
MOST_RETRY_SECONDS = 0.01

# From 3.13 on asyncio sends empty datagrams, and counts a header for each that waits.
_SENDS_EMPTY = sys.version_info >= (3, 13)
_HEADER_SIZE = 8 if _SENDS_EMPTY else 0


class _DatagramFace(asyncio.Transport, asyncio.DatagramTransport):
    """What ``isinstance`` sees of a DatagramTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class DatagramTransport(Channel):
    """One datagram socket. ``begin`` tells the protocol and starts reading.

    ``address``: where everything goes, None for wherever ``sendto`` says or the socket is connected to.
    """

    def __init__(
        self,
        loop: Scheduler,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        context: contextvars.Context,
        address: Any = None,
    ) -> None:
        Channel.__init__(self, sock.fileno())
        kernel.attributes_on_demand(self)
        self._loop = loop
        self._reactor: Reactor = loop.reactor
        self._protocol: Any = protocol
        self._context = context
        self._sock = sock
        self._transport_socket: stdlib.TransportSocket | None = None  # the same object whenever asked
        self._family = int(sock.family)
        self._has_end = sock.type == socket.SOCK_SEQPACKET
        self._address = address
        self._sockname: Any = None
        self._peername: Any = None
        try:
            self._peername = sock.getpeername()
            self._connected = True  # the name of a Unix peer may be the empty string
        except OSError:
            self._connected = False
        self._arrived: list[Message | OSError] = []
        self._backlog: list[Message] = []
        self._backlog_size = 0
        self._high_water = DEFAULT_HIGH_WATER
        self._low_water = DEFAULT_HIGH_WATER // 4
        self._protocol_paused = False
        self._paused = False
        self._closing = False
        self._lost = 0
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.DatagramTransport]:  # type: ignore[override]
        return _DatagramFace

    def begin(self, waiter: asyncio.Future[None] | None = None) -> None:
        """Call ``connection_made``, start reading, then tell the waiter. Runs in the transport's context."""
        try:
            self._protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "Fatal error: protocol.connection_made() call failed.")
        if not self._lost:
            try:
                interest = kernel.INTEREST_READ
                if not self.writable and self._retry is None:
                    interest |= kernel.INTEREST_WRITE
                self._reactor.add(self, interest)
            except OSError as exc:
                self._fatal_error(exc, "Fatal error: epoll refused the socket")
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

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
            elif not self.readable and self.interest & kernel.INTEREST_WRITE and self.added:
                # Woken for nothing: that is when disarming is worth a system call (rule 4).
                self._reactor.rearm(self, kernel.INTEREST_READ)

    def _read(self) -> None:
        if self._paused or self._closing:
            return
        if self.readable and not self._arrived:
            self._receive()
        if self._arrived:
            self._deliver()

    def _receive(self) -> None:
        # One batch each turn (rule 3). A short one has met EAGAIN; but with ERR in the event, an error may have cut it
        # short, and be still to be told (rule 2).
        try:
            self._arrived = kernel_datagram.recv_datagrams(self.fd, self._family, self._sock)
        except (SystemExit, KeyboardInterrupt):
            self._reactor.defer(self)
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal read error on datagram transport")
            return
        if self._has_end and self.hung:
            self._cut_end()
        count = len(self._arrived)
        if count == 0:
            self.readable = False
            self.hung = False
        elif count < kernel_datagram.MOST_DATAGRAMS and not self.hung and type(self._arrived[count - 1]) is tuple:
            self.readable = False

    def _cut_end(self) -> None:
        # The end of a SOCK_SEQPACKET connection reads as an empty datagram, again and again: one tells it.
        while len(self._arrived) > 1 and self._is_empty(-1) and self._is_empty(-2):
            self._arrived.pop()
        if self._arrived and self._is_empty(-1):
            self.readable = False
            self.hung = False

    def _is_empty(self, index: int) -> bool:
        message = self._arrived[index]
        return isinstance(message, tuple) and not message[0]

    def _deliver(self) -> None:
        arrived = self._arrived
        done = 0
        try:
            for message in arrived:
                done += 1
                try:
                    if type(message) is tuple:
                        kernel.call(self._context, self._protocol.datagram_received, message)
                    else:
                        kernel.call_one(self._context, self._protocol.error_received, message)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as exc:
                    self._report(exc, "Exception in a callback of the datagram protocol")
                if self._paused or self._closing:
                    break
        finally:
            if self._closing or done == len(arrived):
                self._arrived = []
            else:
                del arrived[:done]
            if (self._arrived or self.readable) and not self._paused and not self._closing:
                self._reactor.defer(self)

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

    # Writing

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

    def flush(self) -> None:
        """The turn ends: send what it gathered."""
        if self._backlog and self.writable:
            self._send()
        if self._protocol_paused:
            self._maybe_resume_protocol()

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
        # All that was sent has left: a transport that closes is done.
        if self._closing and not self._lost:
            self._lost += 1
            self._loop.call_soon(self._call_connection_lost, None, context=self._context)

    def _count_lost_write(self) -> None:
        if self._lost >= stdlib.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            stdlib.logger().warning("socket.send() raised exception.")
        self._lost += 1

    # Flow control

    def get_write_buffer_size(self) -> int:
        """How many bytes the kernel has not taken, after an attempt to send what the turn wrote.

        From Python 3.13 on with 8 for each datagram. From another thread: what waits now.
        """
        if self._backlog and self.writable and kernel.is_this_thread(self._loop._thread_id):
            self._send()  # asyncio's write() has tried by now, and who asks goes by what was really sent
        return self._backlog_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high water mark, in bytes."""
        return (self._low_water, self._high_water)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, in bytes: over ``high`` the protocol is paused, at ``low`` resumed.

        One that is None follows from the other, low = high / 4; without both, high is 64 KiB. ValueError unless
        high >= low >= 0.
        """
        if high is None:
            high = DEFAULT_HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high_water = int(min(high, sys.maxsize))
        self._low_water = int(min(low, sys.maxsize))
        self._maybe_pause_protocol()

    def _maybe_pause_protocol(self) -> None:
        if self._protocol_paused or self._backlog_size <= self._high_water:
            return
        self._protocol_paused = True
        try:
            self._protocol.pause_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "protocol.pause_writing() failed")

    def _maybe_resume_protocol(self) -> None:
        # Called by the reactor only, outside of any context; sendto() leaves it to the end of the turn.
        if not self._protocol_paused or self._backlog_size > self._low_water or self._protocol is None:
            return
        self._protocol_paused = False
        try:
            kernel.call_none(self._context, self._protocol.resume_writing)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "protocol.resume_writing() failed")

    # The end

    def is_closing(self) -> bool:
        """Whether the transport closes or is closed."""
        return self._closing

    def close(self) -> None:
        """Stop reading, send what waits, then call ``connection_lost(None)``."""
        if self._closing:
            return
        self._closing = True
        if not self._backlog:
            self._emptied()
        elif self.writable:
            self._send()

    def abort(self) -> None:
        """Close without waiting: what the kernel won't take at once is lost."""
        if self._backlog and self.writable and not self._lost:
            # Sent in this turn: the stdlib's loop has done it by now. Whoever aborts does not ask what came of it.
            kernel_datagram.send_datagrams(self.fd, self._family, self._sock, self._backlog, 0)
        self._force_close(None)

    def _force_close(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        self._backlog = []
        self._backlog_size = 0
        self._closing = True
        self._lost += 1
        self._loop.call_soon(self._call_connection_lost, exc, context=self._context)

    def _fatal_error(self, exc: BaseException, message: str) -> None:
        if isinstance(exc, OSError):
            if self._loop._debug:
                stdlib.logger().debug("%r: %s", self, message, exc_info=exc)
        else:
            self._report(exc, message)
        self._force_close(exc)

    def _report(self, exc: BaseException, message: str) -> None:
        self._loop.call_exception_handler(
            {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
        )

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._release()

    def _release(self) -> None:
        self._sockname = self.get_extra_info("sockname")
        self._reactor.remove(self)
        self.fd = -1
        self._protocol = None
        self._arrived = []
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._sock.close()

    def __del__(self) -> None:
        if self._loop is not None and self.fd >= 0:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.fd = -1
            self._sock.close()

    # Who and what

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the socket to another protocol."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol in charge; None when the transport is closed."""
        return self._protocol  # type: ignore[no-any-return]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``socket`` (an asyncio TransportSocket), ``sockname``, ``peername`` of a connected socket."""
        if name == "socket":
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
