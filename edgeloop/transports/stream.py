"""The stream transport: TCP and Unix stream sockets. asyncio doc: Transports and Protocols."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from .. import kernel, stdlib
from ..reactor import Channel, Reactor
from ..schedule import Scheduler

# A turn's writes leave together (rule 5), but not more than this is held back.
SEND_AT_ONCE = 65536
# A large write goes at once, with what waits before it: it has little to gain, and held back its memory is not free for
# the next connection's. With many connections the heap grew and shrank in each turn, which cost more than the sending.
LARGE_WRITE = 4096
DEFAULT_HIGH_WATER = 65536


class _StreamFace(asyncio.Transport):
    """What ``isinstance`` sees of a StreamTransport: a compiled class can't inherit from asyncio's."""

    __slots__ = ()


class StreamTransport(Channel):
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
        Channel.__init__(self, fd)
        kernel.attributes_on_demand(self)
        self._loop = loop
        self._reactor: Reactor = loop.reactor
        self._context = context
        self._protocol: Any = None
        self._server = server
        self._sock = sock
        self._transport_socket: stdlib.TransportSocket | None = None  # the same object whenever asked
        self._peername = peername
        self._sockname: Any = None
        self._extra = extra
        self._backlog: list[Any] = []
        self._backlog_size = 0
        self._high_water = DEFAULT_HIGH_WATER
        self._low_water = DEFAULT_HIGH_WATER // 4
        self._protocol_paused = False
        self._paused = False
        self._ended = False  # nothing more is read: the peer's end came, or we close
        self._closing = False
        self._eof_written = False
        self._lost = 0
        self._empty_waiter: asyncio.Future[None] | None = None
        self._sender: Callable[[], object] | None = None
        self.set_protocol(protocol)
        if server is not None:
            server._attach(self)

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Transport]:  # type: ignore[override]
        return _StreamFace

    def begin(self, waiter: asyncio.Future[None] | None = None) -> None:
        """Call ``connection_made``, start reading, then tell the waiter. Runs in the transport's context."""
        try:
            self._protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            raise  # out of the loop; the connection goes on when that runs again
        except BaseException as exc:
            self._report(exc, "Fatal error: protocol.connection_made() call failed.")
        finally:
            self._register()
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _register(self) -> None:
        if self._lost:
            return
        interest = kernel.INTEREST_READ
        if not self.writable:
            interest |= kernel.INTEREST_WRITE
        try:
            self._reactor.add(self, interest)
        except OSError as exc:
            self._fatal_error(exc, "Fatal error: epoll refused the socket")

    # Reading

    def on_ready(self) -> None:
        """The reactor has news, or this channel had more to do."""
        if self.readable and not self._paused and not self._ended:
            if self._buffered:
                self._read_into()
            else:
                self._read()
        if self.writable and not self.marked:
            if self._backlog:
                self._send()
                if self._protocol_paused:
                    self._maybe_resume_protocol()
            elif self._sender is not None:
                self._sender()
            elif not self.readable and self.interest & kernel.INTEREST_WRITE and self.added:
                # Woken for nothing: that is when disarming is worth a system call (rule 4).
                self._reactor.rearm(self, kernel.INTEREST_READ)

    def _read(self) -> None:
        try:
            data = kernel.recv(self.fd)
        except OSError as exc:
            self._fatal_error(exc, "Fatal read error on socket transport")
            return
        if data is None:
            self.readable = False
            self.hung = False
            return
        if not data:
            self._end_of_stream()
            return
        if self.hung or len(data) == kernel.READ_SIZE:
            # One buffer each turn (rule 3); with FIN in the event, read on to the end (rule 2).
            self._reactor.defer(self)
        else:
            self.readable = False
        try:
            kernel.call_one(self._context, self._protocol.data_received, data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.data_received() call failed.")

    def _read_into(self) -> None:
        try:
            buffer = kernel.call_one(self._context, self._protocol.get_buffer, -1)
            size = len(buffer)
            if not size:
                raise RuntimeError("get_buffer() returned an empty buffer")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.get_buffer() call failed.")
            return
        try:
            count = kernel.recv_into(self.fd, buffer)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal read error on socket transport")
            return
        if count < 0:
            self.readable = False
            self.hung = False
            return
        if count == 0:
            self._end_of_stream()
            return
        if self.hung or count == size:
            self._reactor.defer(self)
        else:
            self.readable = False
        try:
            kernel.call_one(self._context, self._protocol.buffer_updated, count)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.buffer_updated() call failed.")

    def _end_of_stream(self) -> None:
        if self._loop._debug:
            stdlib.logger().debug("%r received EOF", self)
        self.readable = False
        self._ended = True
        try:
            keep_open = kernel.call_none(self._context, self._protocol.eof_received)
        except (SystemExit, KeyboardInterrupt):
            raise
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

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the data, after what was written before. Never blocks; never calls the protocol's connection_lost.

        Raises TypeError for anything but bytes, bytearray, memoryview; RuntimeError after ``write_eof``.
        """
        if type(data) is not bytes and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if self._lost:
            self._count_lost_write()
            return
        if not data:
            return
        self._append(data)
        self._leave(len(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send all the chunks with one system call. Raises as ``write`` does."""
        if self._eof_written:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")
        chunks = list(list_of_data)
        for data in chunks:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._lost:
            if chunks:
                self._count_lost_write()
            return
        size = 0
        for data in chunks:
            if data:
                self._append(data)
                size += len(data)
        if self._backlog:
            self._leave(size)

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        if type(data) is not bytes:
            data = bytes(data)  # it leaves when the turn ends, and its owner may change it before
        self._backlog.append(data)
        self._backlog_size += len(data)

    def _leave(self, size: int) -> None:
        # Now if it is much, else with the rest of the turn.
        if self.writable:
            if size >= LARGE_WRITE or self._backlog_size >= SEND_AT_ONCE or self._backlog_size > self._high_water:
                self._send()
                if self._protocol_paused:
                    self._reactor.mark(self)
            else:
                self._reactor.mark(self)
        if self._backlog_size > self._high_water:
            self._maybe_pause_protocol()

    def flush(self) -> None:
        """The turn ends: send what it wrote."""
        if self._backlog and self.writable:
            self._send()
        if self._protocol_paused:
            self._maybe_resume_protocol()

    def _send(self) -> None:
        self._reactor.stirred = True
        try:
            while self._backlog:
                chunks = len(self._backlog)
                if chunks == 1:
                    count = kernel.send(self.fd, self._backlog[0])
                else:
                    count = kernel.send_many(self.fd, self._backlog)
                if count == self._backlog_size:
                    self._backlog = []
                    self._backlog_size = 0
                elif count < 0 or self._drop_sent(count) < min(chunks, kernel.MOST_CHUNKS):
                    self.writable = False
                    if self.added and not self.interest & kernel.INTEREST_WRITE:
                        self._reactor.rearm(self, kernel.INTEREST_READ | kernel.INTEREST_WRITE)
                    return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal write error on socket transport")
            return
        self._emptied()

    def _drop_sent(self, count: int) -> int:
        # Take the bytes that went from the front of the backlog; how many whole chunks they were.
        self._backlog_size -= count
        done = 0
        for chunk in self._backlog:
            size = len(chunk)
            if count < size:
                break
            count -= size
            done += 1
        del self._backlog[:done]
        if count:
            self._backlog[0] = memoryview(self._backlog[0])[count:]
        return done

    def _emptied(self) -> None:
        # All that was written has left: what waited for it can go on.
        if self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_result(None)
        if self._closing:
            if not self._lost:
                self._lost += 1
                self._loop.call_soon(self._call_connection_lost, None, context=self._context)
        elif self._eof_written:
            self._shutdown_write()

    def _count_lost_write(self) -> None:
        if self._lost >= stdlib.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            stdlib.logger().warning("socket.send() raised exception.")
        self._lost += 1

    def write_eof(self) -> None:
        """Close our half once what was written has left: the peer reads the end, and we read on."""
        if self._closing or self._eof_written:
            return
        self._eof_written = True
        if not self._backlog:
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
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._empty_waiter = waiter
        if not self._backlog:
            waiter.set_result(None)
        return waiter

    def reset_empty_waiter(self) -> None:
        """Let ``write`` work again."""
        self._empty_waiter = None

    def set_sender(self, sender: Callable[[], object] | None) -> None:
        """Call ``sender()`` in each turn in which the socket has room, and once after its end; None to stop that."""
        self._sender = sender
        if sender is not None and self.writable and self.added:
            self._reactor.defer(self)

    def wait_for_room(self) -> None:
        """The socket has taken all it can: ask the kernel to tell when there is room (rule 4)."""
        self.writable = False
        if self.added:
            self._reactor.rearm(self, kernel.INTEREST_READ | kernel.INTEREST_WRITE)

    # Flow control

    def get_write_buffer_size(self) -> int:
        """How many bytes the kernel has not taken, after an attempt to send what the turn wrote.

        From another thread: what waits now.
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
        # Called by the reactor only, outside of any context; write() leaves it to the end of the turn.
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
        """Stop reading, send what was written, then call ``connection_lost(None)``."""
        if self._closing:
            return
        self._closing = True
        self._ended = True
        if not self._backlog:
            self._emptied()
        elif self.writable:
            self._send()

    def abort(self) -> None:
        """Close without waiting: what the kernel won't take at once is lost."""
        if self._backlog and self.writable and not self._lost:
            try:
                kernel.send_many(self.fd, self._backlog)  # written in this turn: the stdlib's loop has sent it by now
            except OSError:
                pass  # whoever aborts doesn't ask
        self._force_close(None)

    def _force_close(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        self._backlog = []
        self._backlog_size = 0
        self._closing = True
        self._ended = True
        self._lost += 1
        self._loop.call_soon(self._call_connection_lost, exc, context=self._context)

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
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
        if self.fd < 0:
            return
        self._sockname = self.get_extra_info("sockname")
        self._reactor.remove(self)
        fd = self.fd
        self.fd = -1
        self._protocol = None
        if self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_exception(ConnectionError("Connection is closed by peer"))
        if self._sender is not None:
            self._sender()
        if self._server is not None:
            self._server._detach(self)
            self._server = None
        if self._sock is not None:
            self._sock.close()
        else:
            kernel.close(fd)

    def __del__(self) -> None:
        if self._loop is not None and self.fd >= 0:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            if self._sock is not None:
                self._sock.close()
            else:
                kernel.close(self.fd)
            self.fd = -1

    # Who and what

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        self._protocol = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol in charge; None when the connection is over."""
        return self._protocol  # type: ignore[no-any-return]

    def open_socket(self) -> socket.socket:
        """The socket object; it owns the descriptor from now on."""
        if self._sock is None:
            self._sock = socket.socket(fileno=self.fd)
            self._sock.setblocking(False)
        return self._sock

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``socket`` (an asyncio TransportSocket), ``peername``, ``sockname``, or what the server added."""
        if name == "socket":
            if self.fd < 0 and self._sock is None:
                return default
            if self._transport_socket is None:
                self._transport_socket = stdlib.TransportSocket(self.open_socket())
            return self._transport_socket
        if name == "peername":
            return self._peername if self._peername is not None else default
        if name == "sockname":
            if self._sockname is None and self.fd >= 0:
                try:
                    self._sockname = kernel.local_address(self.fd)
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
            words.append(f"read={'idle' if self._paused or self._ended else 'polling'}")
            words.append(f"write=<{'polling' if self._backlog else 'idle'}, bufsize={self._backlog_size}>")
        return f"<{' '.join(words)}>"
