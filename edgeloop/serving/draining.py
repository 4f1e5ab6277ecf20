"""``Draining``: how a server ends without refusing or cutting anybody who has come in time.

1. Those who wait in the kernel's queue are accepted, until nobody waits. Then the listening socket is closed at once: who
   comes in between is reset by the kernel.
2. Each protocol that has a method ``server_draining`` is told.
3. When the last connection has ended, or the time is over and the rest is aborted, it is done.

A socket of a SO_REUSEPORT group has others to take the new clients, but the kernel goes on giving it its share until it is
closed, and resets those whose handshake is under way at that moment. So a filter drops SYNs first: these clients try again
in a second, and come to another socket of the group. The handshakes that are under way have HANDSHAKE_SECONDS to end in the
queue. Where the kernel moves such clients to another socket by itself (tcp_migrate_req, Linux 5.14) none of that is needed.
"""

from __future__ import annotations

import array
import asyncio
import math
import socket
import struct
from typing import Any, NamedTuple

from ..core.failures import raise_interruption
from ..core.schedule import Scheduler

HANDSHAKE_SECONDS = 0.25

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
# BPF, as the kernel gives it a segment: its TCP header. ldb [13]; jset #SYN, drop, keep; keep: ret #-1; drop: ret #0
_NO_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in ((0x30, 0, 0, 13), (0x45, 1, 0, 0x02), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0))
)


class Drained(NamedTuple):
    """What ``Server.drain`` returns: the peers' addresses (``peername``), one for each connection.

    ``served`` have ended before the time was over, ``cut`` were aborted then. Both are of the connections that were open when
    the draining began, or waited in the kernel's queue.
    """

    served: tuple[Any, ...]
    cut: tuple[Any, ...]


def check_timeout(timeout: Any) -> None:
    """Raise TypeError or ValueError for anything but None and a number of seconds from 0 on."""
    if timeout is None:
        return
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(f"timeout must be at least 0, or None for no limit, got {timeout!r}")


def refuse_syns(sock: socket.socket) -> bool:
    """Have a listening TCP socket drop SYNs. Return True if it does."""
    code = array.array("B", _NO_SYN)
    program = struct.pack("HP", len(_NO_SYN) // 8, code.buffer_info()[0])
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True


def moves_clients() -> bool:
    """Return True if the kernel moves the clients of a socket that closes to another one of its SO_REUSEPORT group."""
    try:
        with open("/proc/sys/net/ipv4/tcp_migrate_req") as setting:
            return setting.read().strip() == "1"
    except OSError:
        return False


class Draining:
    """The end of one server, from the first ``Server.drain`` on. For the loop's thread alone."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._loop: Scheduler = server._loop
        self._served: list[Any] = []
        self._cut: list[Any] | None = None  # set when the time is over
        self._told: set[Any] = set()  # transports whose protocol was told
        self._waiters: list[asyncio.Future[None]] = []
        self._deadline = math.inf  # on the loop's clock: the earliest that somebody asked for
        self._timer: asyncio.TimerHandle | None = None  # of the deadline
        self._handshakes: asyncio.TimerHandle | None = None  # until those under way have ended

    async def wait(self, timeout: float | None) -> Drained:
        """Wait until the last connection has ended; ``timeout`` seconds from now on the rest is aborted."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            if timeout is not None:
                self._end_at(self._loop.time() + timeout)
            self.check()
            await waiter
        finally:
            self._waiters.remove(waiter)
            if not self._waiters:
                self._abandon()
        return Drained(tuple(self._served), tuple(self._cut or ()))

    def begin(self) -> None:
        """Take what waits in the kernel's queues, and tell the protocols."""
        self._server._unlink_path()  # of a Unix socket: nobody connects any more, and all who have are in the queue
        waits = False
        migrates: bool | None = None
        for listener in self._server._listeners:
            sock = listener.sock
            if self._server._is_ours and sock.family != socket.AF_UNIX and _is_shared_port(sock):
                if migrates is None:
                    migrates = moves_clients()
                waits = (not migrates and refuse_syns(sock)) or waits
            listener.resume()
        self.tell_all()
        if waits:
            self._handshakes = self._loop.call_later(HANDSHAKE_SECONDS, self._take_backlog)
        else:
            self._take_backlog()

    def _take_backlog(self) -> None:
        # Accept who waits, and close each listening socket when nobody does. Without the filter others come meanwhile: those
        # who wait now are no more than the queue holds.
        self._handshakes = None
        if not self._server._listeners:
            self._server._close_sockets()
        for listener in self._server._listeners:
            listener.leave(self._server._backlog + 1)

    def check(self) -> None:
        """Resolve the futures if all is over."""
        server = self._server
        if server._sockets is None and not server._connections and not server._refusing():
            self._stop_clocks()
            self._told.clear()
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    # The protocols

    def tell_all(self) -> None:
        """Tell those that have not been told yet: when the draining begins, and when the last socket is closed."""
        for transport in tuple(self._server._clients):
            # The handshake of a TLS transport may not be over.
            if self._server._connect is None or transport.get_extra_info("ssl_object") is not None:
                self.connected(transport)

    def connected(self, transport: Any) -> None:
        """``connection_made`` was called, or is scheduled."""
        if transport not in self._told:
            self._told.add(transport)
            self._loop.call_soon(self._tell, transport, context=self._server._context_of(transport))

    def _tell(self, transport: Any) -> None:
        protocol = transport.get_protocol()
        while hasattr(protocol, "get_app_protocol"):  # the program has called start_tls
            protocol = protocol.get_app_protocol()
        tell = getattr(protocol, "server_draining", None)
        if tell is None:
            return
        try:
            tell()
        except BaseException as exc:
            raise_interruption(exc)
            self._loop.call_exception_handler(
                {
                    "message": "Error: protocol.server_draining() call failed.",
                    "exception": exc,
                    "transport": transport,
                    "protocol": protocol,
                }
            )

    # The end

    def ended(self, transport: Any) -> None:
        """A connection has ended."""
        self._told.discard(transport)
        if self._cut is None:
            self._served.append(transport.get_extra_info("peername"))

    def ended_tls(self, transport: Any) -> None:
        """A TLS transport has ended; the connection below it follows."""
        self._told.discard(transport)

    def _end_at(self, when: float) -> None:
        if self._cut is not None or when >= self._deadline:
            return
        self._deadline = when
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if when <= self._loop.time():
            self._end_of_time()
        else:
            self._timer = self._loop.call_at(when, self._end_of_time)

    def _end_of_time(self) -> None:
        self._timer = None
        if self._cut is not None:
            return
        self._cut = [transport.get_extra_info("peername") for transport in self._server._connections]
        self._server._close_sockets()
        self._server.abort_clients()
        self.check()

    def _abandon(self) -> None:
        # Nobody waits any more. If somebody was cancelled: nothing more is accepted, and those who are there stay.
        self._stop_clocks()
        self._deadline = math.inf
        self._server._close_sockets()

    def _stop_clocks(self) -> None:
        for timer in (self._timer, self._handshakes):
            if timer is not None:
                timer.cancel()
        self._timer = self._handshakes = None


def _is_shared_port(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
    except OSError:
        return False
