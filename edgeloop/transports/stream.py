"""The stream transport: TCP and Unix stream sockets, one connection in one file.

asyncio doc: Transports and Protocols.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from typing import Any

from .. import stdlib
from ..core.channel import Channel
from ..core.schedule import Scheduler
from ..core.wheel import Member
from ..kernel import calls, interpreter, sockets
from ..kernel.short_reads import FLAGGED, NOTHING, short_reads_of, short_reads_of_kind
from ..watching.layout import STREAM
from . import base
from .stream_writing import StreamWriteHalf

# After a read of that many bytes, the next goes straight into a bytes object of READ_SIZE, which is then cut: copying so
# many costs more than allocating it.
LARGE_READ = 8192


class _AsyncioTransport(asyncio.Transport):
    """What ``isinstance`` sees of a StreamTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class StreamTransport(StreamWriteHalf):
    """One connection, from the moment its socket is connected. ``begin`` calls ``connection_made`` and starts reading.

    Without ``sock``, as for a connection that the listener accepted, the transport owns the descriptor. When somebody asks
    for the socket object, that owns it from then on. A ``sock`` that was given may be closed or detached by its owner.
    The transport closes each of them at the end: after ``close`` when all is sent, at once after ``abort`` or an error.
    Threads: as a WriteHalf.
    """

    _start_tls_compatible = True  # how asyncio's transports say that start_tls() takes them; aiohttp looks too

    def __init__(
        self,
        loop: Scheduler,
        fd: int,
        sock: socket.socket | None,
        protocol: asyncio.BaseProtocol,
        context: contextvars.Context,
        peername: Any = None,
        server: Any = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        Channel.__init__(self, -1)
        self.kind = STREAM
        interpreter.attributes_on_demand(self)
        self._start(loop, context, calls.INTEREST_STREAM)
        self._start_writing(sock)
        # Only the loop's thread changes these, by the methods that are named.
        self._server = server  # set once, None once closed: it counts its connections
        self._transport_socket: stdlib.TransportSocket | None = None  # by get_extra_info, once: always the same object
        self._peername = peername  # set once; by use_names
        self._sockname: Any = None  # by get_extra_info, once
        self._buffered = False  # by set_protocol: the protocol is a BufferedProtocol
        self._large_read = False  # by _read, of the last one: the next is better not copied
        self.bytes_received = 0
        self.bytes_before = 0  # of these, before the client's own: a proxy's header. Whoever reads that sets it
        # By be_watched: who looks whether it has come to a deadline; leaves at the end.
        self._watched: Member | None = None
        if sock is not None:
            says = short_reads_of(sock) if self._given else short_reads_of_kind(sock.family, sock.proto)
            self.use_family(sock.family, says)
            try:
                self._sockname = sock.getsockname()  # now: its owner may close it
            except OSError:
                pass
        self._extra = extra  # set once, or by use_names: what get_extra_info knows besides
        self.set_protocol(protocol)
        if server is not None:
            server._attach(self)
        self.fd = fd  # last: from here on it is this object that closes it, however it ends
        if fd >= 0:  # else the listener sets it
            self._reactor.counts.connections_made += 1

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Transport]:  # type: ignore[override]
        return _AsyncioTransport

    # Reading

    def on_ready(self) -> None:
        """The reactor has an event, or this channel had more to do."""
        if (
            self.readable
            and not self._paused
            and not self._eof_received
            and self._state == base.OPEN
            and (self._rates is None or self._rates.may_read())
        ):
            if self._buffered:
                # The context is entered once for both of the protocol's methods: entering it twice costs more.
                interpreter.call_one(self._context, _READ_INTO, self)
            else:
                self._read()
        if self.writable:
            if self._sender is not None and not self._write_buffer:
                self._sender()
            elif self._write_buffer or self.interest & calls.INTEREST_WRITE:
                self._use_room()

    def _read(self) -> None:
        more = False
        try:
            fd = self._number()
            if self._rates is not None and self._rates.allowed < calls.READ_SIZE:
                data, more = self._read_some(fd, self._rates.allowed)
            elif self.short_read == FLAGGED:
                found = sockets.recv_message(fd, self._sock)
                if isinstance(found, tuple):
                    data, more = found[0], True
                else:
                    data = found
            else:
                more = self.short_read == NOTHING
                data = sockets.recv_large(fd, self._sock) if self._large_read else sockets.recv(fd, self._sock)
        except BaseException as exc:  # MemoryError too: what was read is lost, and nothing may be delivered after a gap
            self._fatal_error(exc, "Fatal read error on socket transport")
            return
        try:  # the counts too: there may be no memory for a large number, and nothing may be delivered after a gap
            counts = self._reactor.counts
            counts.recv += 1
            if data is None:
                self._read_all()
                return
            if not data:
                interpreter.call_one(self._context, _END_OF_STREAM, self)
                return
            size = len(data)
            self.bytes_received += size
            counts.bytes_in += size
            if self._rates is not None:
                self._rates.has_read(size)
            self._large_read = size >= LARGE_READ
            if self.hangup or more or size == calls.READ_SIZE:
                self._read_on()
            else:
                self.readable = False
            interpreter.call_method(self._context, self._protocol, "data_received", data)
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.data_received() call failed.")

    def _read_some(self, fd: int, limit: int) -> tuple[bytes | None, bool]:
        # Return the bytes as ``recv`` does, at most ``limit``, and whether there may be more.
        buffer = bytearray(limit)
        count, more = self._fill(fd, buffer, limit)
        if count < 0:
            return None, False
        del buffer[count:]
        return bytes(buffer), more or count == limit

    def _fill(self, fd: int, buffer: Any, limit: int) -> tuple[int, bool]:
        # As ``recv_message_into``, but at most ``limit`` bytes. A format that only its maker knows can't be cut: all of it.
        with memoryview(buffer) as whole:
            try:
                octets = whole.cast("B")
            except (TypeError, ValueError):
                octets = whole[:]
                limit = len(whole)
            with octets, octets[:limit] as part:
                if self.short_read == FLAGGED:
                    return sockets.recv_message_into(fd, self._sock, part)
                return sockets.recv_into(fd, self._sock, part), self.short_read == NOTHING

    def _read_on(self) -> None:
        # One buffer each turn (rule 3); with FIN in the event, read on to the end (rule 2).
        if self.urgent:
            self._rearm_at_urgent_mark()
        else:
            self._reactor.defer(self)

    def _read_all(self) -> None:
        # EAGAIN. At the mark of urgent data it is not certain: with a signal pending the kernel says it there too.
        self.readable = False
        self.hangup = False
        if self.urgent:
            self._rearm_at_urgent_mark()

    def _rearm_at_urgent_mark(self) -> None:
        # At the mark of urgent data one more recv would skip the byte that the program may want (MSG_OOB in recv(2)), and a
        # second would read what is behind it. The MOD has the kernel say whether there is more, after each read.
        self.readable = False
        self.hangup = False
        self.urgent = False
        if self.added:
            self._reactor.rearm(self, self.interest)

    def _read_into(self) -> None:
        more = False
        try:
            buffer = self._protocol.get_buffer(-1)
            size = sockets.byte_size(buffer)
            if not size:
                raise RuntimeError("get_buffer() returned an empty buffer")
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.get_buffer() call failed.")
            return
        if self._state != base.OPEN or not self.readable:
            return  # get_buffer has closed
        try:
            fd = self._number()
            if self._rates is not None and self._rates.allowed < size:
                size = self._rates.allowed
                count, more = self._fill(fd, buffer, size)
            elif self.short_read == FLAGGED:
                count, more = sockets.recv_message_into(fd, self._sock, buffer)
            else:
                more = self.short_read == NOTHING
                count = sockets.recv_into(fd, self._sock, buffer)
        except BaseException as exc:
            self._fatal_error(exc, "Fatal read error on socket transport")
            return
        try:  # as in ``_read``
            counts = self._reactor.counts
            counts.recv += 1
            if count < 0:
                self._read_all()
                return
            if count == 0:
                self._end_of_stream()
                return
            self.bytes_received += count
            counts.bytes_in += count
            if self._rates is not None:
                self._rates.has_read(count)
            if self.hangup or more or count >= size:
                self._read_on()
            else:
                self.readable = False
            self._protocol.buffer_updated(count)
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.buffer_updated() call failed.")

    def _end_of_stream(self) -> None:
        if self._loop._debug:
            stdlib.logger().debug("%r received EOF", self)
        self.readable = False
        self._eof_received = True
        try:
            keep_open = self._protocol.eof_received()
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            try:
                self.close()
            except MemoryError as exc:
                self._fatal_error(exc)

    # The end

    def be_watched(self, watched: Member | None) -> None:
        """Have ``watched`` leave its ring when the connection ends."""
        self._watched = watched

    def _count_end(self, exc: BaseException | None) -> None:
        counts = self._reactor.counts
        if exc is None:
            if self._aborted:
                counts.lost_abort += 1
            else:
                counts.lost_end += 1
        elif isinstance(exc, TimeoutError):  # ETIMEDOUT, or a limit of the server's
            counts.lost_timeout += 1
        elif isinstance(exc, ConnectionError):
            counts.lost_reset += 1
        else:
            counts.lost_error += 1

    def _before_release(self) -> None:
        if self._sockname is None:
            self._sockname = self.get_extra_info("sockname")

    def _on_release(self) -> None:
        server = self._server
        watched = self._watched
        held = self._rates
        self._server = None
        self._watched = None
        self._rates = None
        if watched is not None:
            watched.leave()
        if held is not None:
            held.leave()
        if self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_exception(ConnectionError("Connection is closed by peer"))
        if self._sender is not None:
            self._sender()
        if server is not None:
            server._detach(self)

    def _give_back(self, fd: int) -> None:
        self._reactor.counts.connections_closed += 1
        if self._sock is not None:
            self._sock.close()
        else:
            calls.close(fd)

    # Who and what

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        buffered = isinstance(protocol, asyncio.BufferedProtocol)
        former = self._protocol  # dropped at the end, when its destructor finds the new one here
        self._protocol = protocol
        self._buffered = buffered
        del former

    def use_names(self, peername: Any, sockname: Any, extra: dict[str, Any]) -> None:
        """Have ``get_extra_info`` say these: a proxy has told for whom it speaks. None leaves a name as it is."""
        if peername is not None:
            self._peername = peername
        if sockname is not None:
            self._sockname = sockname
        self._extra = extra

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``socket`` (an asyncio TransportSocket), ``peername``, ``sockname``, or what the server added."""
        if name == "socket":
            self.push()
            if self._transport_socket is None:
                if self.fd < 0 and self._sock is None:
                    self._sock = socket.socket(self._family or socket.AF_UNIX, socket.SOCK_STREAM)
                    self._sock.close()  # as asyncio: the socket of a connection that is over is a closed one
                self._transport_socket = stdlib.TransportSocket(self.open_socket())
            return self._transport_socket
        if name == "peername":
            return self._peername if self._peername is not None else default
        if name == "sockname":
            if self._sockname is None and self.fd >= 0:
                try:
                    self._sockname = sockets.local_address(self._number())
                except OSError:
                    return default
            return self._sockname if self._sockname is not None else default
        if self._extra is not None:
            return self._extra.get(name, default)
        return default

    def __repr__(self) -> str:
        words = ["StreamTransport"]
        if self.fd < 0:
            words.append("closed")
        elif self._state != base.OPEN:
            words.append("closing")
        words.append(f"fd={self.fd}")
        if self.fd >= 0:
            words.append(f"read={'polling' if self.is_reading() and not self._eof_received else 'idle'}")
            words.append(f"write=<{'polling' if self._write_buffer else 'idle'}, bufsize={self._write_buffer_size}>")
        return f"<{' '.join(words)}>"


# As functions of a transport: no bound method is made for each call. By the dotted name Cython would wrap them.
_READ_INTO = vars(StreamTransport)["_read_into"]
_END_OF_STREAM = vars(StreamTransport)["_end_of_stream"]
