"""The stream transport: TCP and Unix stream sockets. asyncio doc: Transports and Protocols."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import warnings
from typing import Any

from .. import stdlib
from ..core.reactor import Channel
from ..core.schedule import Scheduler
from ..kernel import calls, interpreter, sockets
from ..kernel.connection_socket import ConnectionSocket
from ..kernel.short_reads import FLAGGED, NOTHING, short_reads_of, short_reads_of_kind
from .stream_sending import StreamSender

# Where the last read brought that many bytes, the next is made straight into the bytes object: to copy them costs more than
# to make one of READ_SIZE and cut it.
MUCH = 32768


class _StreamFace(asyncio.Transport):
    """What ``isinstance`` sees of a StreamTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class StreamTransport(StreamSender):
    """One connection, from the moment its socket is connected.

    ``begin`` tells the protocol and starts reading. ``sock`` is None for a connection the listener took: its socket
    object is made when somebody asks for it.
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
        interpreter.attributes_on_demand(self)
        self._loop = loop
        self._reactor = loop.reactor
        self._context = context
        self._server = server
        self._sock = sock
        self._start_sending()
        self._given = sock is not None and not isinstance(sock, ConnectionSocket)
        self._transport_socket: stdlib.TransportSocket | None = None  # the same object whenever asked
        self._peername = peername
        self._sockname: Any = None
        self._family = 0
        self.short_read = NOTHING  # until ``use_family`` says what an accepted one is
        if sock is not None:
            says = short_reads_of(sock) if self._given else short_reads_of_kind(sock.family, sock.proto)
            self.use_family(sock.family, says)
            try:
                self._sockname = sock.getsockname()  # now: its owner may close it
            except OSError:
                pass
        self._extra = extra
        self._protocol = None
        self._paused = False
        self._ended = False  # the peer's end came: nothing more is read
        self._much = False  # the last read brought so much that it is better not copied
        self.set_protocol(protocol)
        if server is not None:
            server._attach(self)
        self.fd = fd  # last: from here on it is this object that closes it, however it ends

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Transport]:  # type: ignore[override]
        return _StreamFace

    def use_family(self, family: int, short_read: int) -> None:
        """What kind of socket it is, and what a short read says: ``short_reads_of_kind``."""
        self._family = family
        self.short_read = short_read
        sock = sockets.object_for(self.fd, self._sock, family)
        if sock is not None:
            self._use_socket(sock)

    def read_to_the_end(self) -> None:
        """From now on only EAGAIN says that the socket is empty (rule 2): the kernel has taken on TLS."""
        self.short_read = NOTHING

    def is_gone(self) -> bool:
        """Whether the socket was closed or detached by its owner: the number is no longer ours (rule 9)."""
        return self._ask is not None and self._ask() != self.fd

    def begin(self, waiter: asyncio.Future[None] | None = None) -> None:
        """Call ``connection_made``, start reading, then tell the waiter. Runs in the transport's context."""
        try:
            self._protocol.connection_made(self)
        except BaseException as exc:
            self._report(exc, "Fatal error: protocol.connection_made() call failed.")
        finally:  # after KeyboardInterrupt too: the connection goes on when the loop runs again
            self._register()
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _register(self) -> None:
        if self._lost:
            return
        interest = calls.INTEREST_STREAM
        if not self.writable:
            interest |= calls.INTEREST_WRITE
        try:
            self._number()
            self._reactor.add(self, interest)
        except OSError as exc:
            self._fatal_error(exc, "Fatal error: epoll refused the socket")

    # Reading

    def on_ready(self) -> None:
        """The reactor has news, or this channel had more to do."""
        if self.readable and not self._paused and not self._ended and not self._closing:
            if self._buffered:
                # Within the context as a whole: to enter it for each of the protocol's two methods costs more.
                interpreter.call_one(self._context, _READ_INTO, self)
            else:
                self._read()
        if self.writable:
            if self._backlog:
                if not self.marked:
                    self._send()
                    if self._protocol_paused:
                        self._maybe_resume_protocol()
            elif self._sender is not None:
                self._sender()
            elif not self.readable and self.interest & calls.INTEREST_WRITE and self.added:
                # Woken for nothing: that is when disarming is worth a system call (rule 4).
                self._reactor.rearm(self, calls.INTEREST_STREAM)

    def _read(self) -> None:
        more = False
        try:
            fd = self._number()
            if self.short_read == FLAGGED:
                found = sockets.recv_message(fd, self._sock)
                data = None if found is None else found[0]
                more = found is not None and found[1]
            else:
                more = self.short_read == NOTHING
                data = sockets.recv_large(fd, self._sock) if self._much else sockets.recv(fd, self._sock)
        except OSError as exc:
            self._fatal_error(exc, "Fatal read error on socket transport")
            return
        if data is None:
            self._read_all()
            return
        if not data:
            interpreter.call_one(self._context, _END_OF_STREAM, self)
            return
        self._much = len(data) >= MUCH
        if self.hung or more or len(data) == calls.READ_SIZE:
            self._read_on()
        else:
            self.readable = False
        try:
            interpreter.call_method(self._context, self._protocol, "data_received", data)
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.data_received() call failed.")

    def _read_on(self) -> None:
        # One buffer each turn (rule 3); with FIN in the event, read on to the end (rule 2).
        if self.urgent:
            self._look_again()
        else:
            self._reactor.defer(self)

    def _read_all(self) -> None:
        # EAGAIN, but not for certain at the mark of urgent data: with a signal pending the kernel says so there too.
        self.readable = False
        self.hung = False
        if self.urgent:
            self._look_again()

    def _look_again(self) -> None:
        # At the mark of urgent data one recv would skip the byte that the program may want (MSG_OOB in recv(2)), and two find
        # what is behind it. The kernel knows whether there is more, and tells: each time after something was read.
        self.readable = False
        self.hung = False
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
        if self._closing or not self.readable:
            return  # get_buffer has closed
        try:
            fd = self._number()
            if self.short_read == FLAGGED:
                count, more = sockets.recv_message_into(fd, self._sock, buffer)
            else:
                more = self.short_read == NOTHING
                count = sockets.recv_into(fd, self._sock, buffer)
        except BaseException as exc:
            self._fatal_error(exc, "Fatal read error on socket transport")
            return
        if count < 0:
            self._read_all()
            return
        if count == 0:
            self._end_of_stream()
            return
        if self.hung or more or count == size:
            self._read_on()
        else:
            self.readable = False
        try:
            self._protocol.buffer_updated(count)
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.buffer_updated() call failed.")

    def _end_of_stream(self) -> None:
        if self._loop._debug:
            stdlib.logger().debug("%r received EOF", self)
        self.readable = False
        self._ended = True
        try:
            keep_open = self._protocol.eof_received()
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            self.close()

    def is_reading(self) -> bool:
        """Whether data goes to the protocol now."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Stop handing data to the protocol. Does nothing if reading is paused or the transport closes."""
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
        if self.readable and self.added:
            self._reactor.defer(self)
        if self._loop._debug:
            stdlib.logger().debug("%r resumes reading", self)

    # The end

    def _release(self) -> None:
        fd = self.fd
        if fd < 0:
            return
        if self._sockname is None:
            self._sockname = self.get_extra_info("sockname")
        # Changed first, dropped last: the ends of what is dropped may run any code.
        protocol = self._protocol
        server = self._server
        self._server = None
        self._reactor.remove(self)
        self.fd = -1
        self._protocol = None
        try:
            if self._empty_waiter is not None and not self._empty_waiter.done():
                self._empty_waiter.set_exception(ConnectionError("Connection is closed by peer"))
            if self._sender is not None:
                self._sender()
            if server is not None:
                server._detach(self)
        finally:
            self._give_back(fd)
            del protocol

    def _give_back(self, fd: int) -> None:
        if self._sock is not None:
            self._sock.close()
        else:
            calls.close(fd)

    def __del__(self) -> None:
        fd = self.fd
        if self._loop is not None and fd >= 0:
            try:
                warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            finally:
                self.fd = -1
                self._give_back(fd)

    # Who and what

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        buffered = isinstance(protocol, asyncio.BufferedProtocol)
        former = self._protocol
        self._protocol = protocol
        self._buffered = buffered
        del former  # whose end may run any code

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol in charge; None when the connection is over."""
        return self._protocol  # type: ignore[no-any-return]

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
        elif self._closing:
            words.append("closing")
        words.append(f"fd={self.fd}")
        if self.fd >= 0:
            words.append(f"read={'idle' if self._paused or self._ended or self._closing else 'polling'}")
            words.append(f"write=<{'polling' if self._backlog else 'idle'}, bufsize={self._backlog_size}>")
        return f"<{' '.join(words)}>"


# As functions of a transport: no bound method is made for each call, and Cython would wrap what it has by the dotted name.
_READ_INTO = vars(StreamTransport)["_read_into"]
_END_OF_STREAM = vars(StreamTransport)["_end_of_stream"]
