"""The stream transport: TCP and Unix stream sockets, one connection in one file.

asyncio doc: Transports and Protocols.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable, Iterable
from typing import Any

from .. import stdlib
from ..core.reactor import Channel
from ..core.schedule import Scheduler
from ..core.wheel import Member
from ..kernel import calls, interpreter, sockets
from ..kernel.connection_socket import ConnectionSocket, new_socket
from ..kernel.short_reads import FLAGGED, NOTHING, short_reads_of, short_reads_of_kind
from ..watching.layout import STREAM
from . import base, rates
from .flow import WriteHalf
from .rates import Rates

# After a read of that many bytes, the next goes straight into a bytes object of READ_SIZE, which is then cut: copying so
# many costs more than allocating it.
LARGE_READ = 8192
# Where writes are gathered (rule 5), no more than this many bytes wait.
SEND_AT_ONCE = 65536
# A write of that many bytes leaves at once, after what waits: gathering saves it little, and its memory is free for the
# next connection's write. With many connections the heap grew and shrank in each turn, which cost more than the sending.
LARGE_WRITE = 4096


class _AsyncioTransport(asyncio.Transport):
    """What ``isinstance`` sees of a StreamTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class StreamTransport(WriteHalf):
    """One connection, from the moment its socket is connected. ``begin`` calls ``connection_made`` and starts reading.

    Without ``sock``, as for a connection that the listener accepted, the transport owns the descriptor. When somebody asks
    for the socket object, that owns it from then on. A ``sock`` that was given may be closed or detached by its owner.
    The transport closes each of them at the end: after ``close`` when all is sent, at once after ``abort`` or an error.
    Threads: as a WriteHalf.
    """

    _kind = "socket"
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
        self._lost_writes = 1  # as on asyncio, where the loss of a socket counts as one
        # Only the loop's thread changes these, by the methods that are named.
        self._server = server  # set once, None once closed: it counts its connections
        self._sock: Any = sock  # by _use_socket, from None, when the object is needed
        # Set once. Its owner may use the socket, which is not seen from here: nothing is gathered.
        self._given = sock is not None and not isinstance(sock, ConnectionSocket)
        self._transport_socket: stdlib.TransportSocket | None = None  # by get_extra_info, once: always the same object
        self._peername = peername  # set once; by use_names
        self._sockname: Any = None  # by get_extra_info, once
        self._family = 0  # by use_family
        self.short_read = NOTHING  # by use_family, and by read_to_the_end
        self._buffered = False  # by set_protocol: the protocol is a BufferedProtocol
        self._eof_received = False  # by _end_of_stream: nothing more is read
        self._large_read = False  # by _read, of the last one: the next is better not copied
        self._eof_written = False  # by write_eof
        self._aborted = False  # by abort
        self._empty_waiter: asyncio.Future[None] | None = (
            None  # by make_ and reset_empty_waiter: nobody writes meanwhile
        )
        self._sender: Callable[[], object] | None = None  # by set_sender: called when there is room
        self.bytes_received = 0
        self.bytes_before = 0  # of these, before the client's own: a proxy's header. Whoever reads that sets it
        self._rates: Rates | None = None  # by use_rates: how fast it may be; None is without a limit
        self._watched: Member | None = (
            None  # by be_watched: who looks whether it has come to a deadline; leaves at the end
        )
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
                data = None if found is None else found[0]
                more = found is not None and found[1]
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
        self.bytes_sent += count
        if self._rates is not None:
            self._rates.has_written(count)

    def wait_writable(self) -> None:
        """The socket takes no more: ask the kernel to report when there is room (rule 4)."""
        self.writable = False
        if self.added:
            self._reactor.rearm(self, calls.INTEREST_STREAM | calls.INTEREST_WRITE)

    # Limits of its server

    def be_watched(self, watched: Member | None) -> None:
        """Have ``watched`` leave its ring when the connection ends."""
        self._watched = watched

    def use_rates(self, rates: Rates) -> None:
        """Read and write no faster than that, from now on."""
        self._rates = rates

    def may_send(self, size: int) -> int:
        """Return how many of ``size`` bytes the rate allows now. 0: none, and the transport goes on later."""
        return size if self._rates is None else self._rates.may_write(size)

    def go_on(self) -> None:
        """The rates allow bytes again."""
        self._reactor.defer(self)

    # The end

    def abort(self) -> None:
        """Close without waiting: what the kernel won't take at once is lost."""
        self._aborted = True
        if self._write_buffer and self.writable and self._state < base.LOST and not self._sending:
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
