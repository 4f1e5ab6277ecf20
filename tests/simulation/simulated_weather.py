"""What happens between and in the system calls of a run: faults, other processes, signals, clock jumps.

Which faults may come, and how often, is drawn for each run. A fault is one of the call's real errors, and the kernel is
left in a state in which Linux would report it: EAGAIN in spite of an event, and a short count, are followed by the edge
that an arrival right after the call would make; ECONNRESET ends the connection on both sides. EINTR never reaches edgeloop,
but for that of connect: Python runs the signal handlers and calls again, the wait with the time that is left (PEP 475).
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import Protocol

import simulated_calls as calls
from simulated_calls import EARLY, REORDERED, SHORT, SPURIOUS, TRUNCATED
from simulated_endpoints import WRITES
from simulated_kernel import Kernel
from tape import Tape

#: What may happen to each call. Others are added at the end of a line, or the kept tapes would play something else.
FAULTS: dict[int, tuple[int, ...]] = {
    calls.EPOLL_ADD: (errno.ENOSPC, errno.ENOMEM),
    calls.EPOLL_WAIT: (SPURIOUS, TRUNCATED, REORDERED, EARLY, errno.EINTR),
    calls.READ: (SHORT, errno.EAGAIN, errno.EINTR),
    calls.WRITE: (SHORT, errno.EAGAIN, errno.EINTR),
    calls.OPEN: (errno.EMFILE, errno.ENFILE),
    calls.DUPFD: (errno.EMFILE,),
    calls.SOCKET: (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
    calls.ACCEPT: (
        *(errno.EAGAIN, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
        errno.EINTR,
    ),
    calls.CONNECT: (errno.EINTR, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ETIMEDOUT),
    calls.RECV: (SHORT, errno.EAGAIN, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENOMEM, errno.EINTR),
    calls.SEND: (
        *(SHORT, errno.EAGAIN, errno.ECONNRESET, errno.EPIPE, errno.ENOBUFS, errno.ENOMEM),
        *(errno.ETIMEDOUT, errno.EINTR),
    ),
    calls.SENDFILE: (SHORT, errno.EAGAIN, errno.ECONNRESET, errno.EINTR),
    calls.RECVFROM: (errno.EAGAIN, errno.ENOMEM, errno.EINTR),
    calls.SENDTO: (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EINTR),
}

OTHERS = 1  # another process acts
SIGNAL = 2  # a signal handler runs
JUMP = 3  # the clock jumps
QUIET = 1 << 60

JUMPS = (0.0, 1e-5, 2e-4, 5e-3, 1.0, 100.0)


class World(Protocol):
    """What the weather makes happen."""

    def others_act(self) -> bool:
        """Another process does something. Return False if none has anything to do."""

    def signal(self) -> None:
        """A signal handler runs, in the loop's thread."""

    def on_turn(self) -> None:
        """A wait begins."""

    def fell_asleep(self) -> None:
        """The loop sleeps: the oracles look."""

    def nothing_left(self) -> None:
        """Nothing will ever wake the loop but its own timers."""


class Faults:
    """The weather of one run."""

    def __init__(self, kernel: Kernel, tape: Tape, world: World, seen: Counter[str]) -> None:
        self._kernel = kernel
        self._tape = tape
        self._world = world
        self._seen = seen
        # Mostly few faults; some runs without, some with many.
        self._gap = (0, 60, 25, 8, 3)[tape.below(5)]
        self._kinds = tape.below(16) if self._gap else 0
        self._until = QUIET
        self._within = False
        self._naps = 0
        self._interrupts = False  # a signal comes when the wait sleeps

    def begin(self) -> None:
        """From now on anything may happen."""
        self._draw()

    def calm(self) -> None:
        """Nothing happens any more, but what others do."""
        self._until = QUIET
        self._gap = 0

    def _draw(self) -> None:
        # 0 means never again, so that a tape that is over is a calm one.
        self._until = (self._tape.below(self._gap) if self._gap else 0) or QUIET

    def before(self, call: int, fd: int) -> int:
        if call == calls.EPOLL_WAIT:
            self._interrupts = False
            self._world.on_turn()
        self._until -= 1
        if self._until > 0 or self._within:
            return 0
        self._within = True
        try:
            return self._happen(call)
        finally:
            self._within = False

    def _happen(self, call: int) -> int:
        self._draw()
        possible = FAULTS.get(call, ())
        what = self._tape.below(8)
        if what == OTHERS:
            if self._world.others_act():
                self._seen["another process acts between two calls"] += 1
        elif what == SIGNAL and self._kinds & 1:
            self._seen["a signal handler runs between two calls"] += 1
            self._world.signal()
        elif what == JUMP and self._kinds & 2:
            jump = JUMPS[self._tape.below(len(JUMPS))]
            if jump:
                self._seen["the clock jumps"] += 1
                self._kernel.now += jump
        elif what > JUMP and possible and self._kinds & 12:
            fault = possible[self._tape.below(len(possible))]
            if fault > 0 and fault != errno.EAGAIN and not self._kinds & 4:
                return 0
            if fault == errno.EINTR and call == calls.EPOLL_WAIT:
                self._interrupts = True
                return 0
            self._seen[name_of(call, fault)] += 1
            self._kernel.note(fault)
            if fault == errno.EINTR and call != calls.CONNECT:
                self._world.signal()
                return 0
            return fault
        return 0

    def asleep(self, deadline: float | None) -> None:
        kernel, world = self._kernel, self._world
        world.fell_asleep()
        if self._interrupts:
            self._interrupts = False
            self._seen[name_of(calls.EPOLL_WAIT, errno.EINTR)] += 1
            world.signal()
            return
        before = kernel.now
        if world.others_act():
            self._naps = 0
            return
        self._naps += 1
        if deadline is None or self._naps > 40:
            self._naps = 0
            world.nothing_left()
            return
        kernel.now = max(kernel.now, deadline)
        assert kernel.now >= before


def name_of(call: int, fault: int) -> str:
    """A fault as the counters name it."""
    names = {SHORT: "short", SPURIOUS: "spurious", TRUNCATED: "truncated", REORDERED: "reordered", EARLY: "early"}
    return f"{calls.CALLS[call - 1]}: {names.get(fault) or errno.errorcode[fault]}"


#: What only a long campaign meets for certain: less than once in 500 runs.
SELDOM = {
    *("dupfd: EMFILE", "write: EAGAIN", "write: EINTR", "write: short", "read: EAGAIN", "read: EINTR"),
    *("sendfile: EAGAIN", "sendfile: ECONNRESET", "sendfile: EINTR", "sendfile: short"),
    *("accept: ECONNABORTED", "accept: EINTR", "accept: ENFILE", "accept: ENOBUFS", "accept: ENOMEM"),
    *("connect: EINTR", "connect: ETIMEDOUT", "recvfrom: ENOMEM"),
    *("cancelled in read", "cancelled in readexactly", "cancelled in readline", "cancelled in readuntil"),
    *("cancelled in drain", "cancelled in open_connection", "cancelled in sendfile", "cancelled in sock_connect"),
    *("cancelled in sock_recv", "cancelled in sock_recv_into", "cancelled in sock_sendall"),
    *("cancelled in create_connection", "cancelled in create_unix_connection", "cancelled in create_unix_server"),
}

#: What a campaign of 12,000 runs must have met: faults, kinds of programs, and what these do.
SOMETIMES = {
    *(name_of(call, fault) for call, faults in FAULTS.items() for fault in faults),
    "another process acts between two calls",
    "a signal handler runs between two calls",
    "the clock jumps",
    "a descriptor is closed by its owner",
    "a number is reused in a batch, closed by us",
    "a number is reused in a batch, closed by its owner",
    "a fork",
    "a file was sent",
    "the loop is stopped",
    "KeyboardInterrupt in a callback",
    "a callback raises",
    "a timer is cancelled",
    "a BufferedProtocol",
    "start_tls",
    *(f"write of {size}" for size in WRITES),
    *("writelines", "write_eof", "close", "abort", "pause_reading", "resume_reading"),
    *("set_protocol", "set_write_buffer_limits"),
    *("server", "client", "given", "both_ends", "read_pipe", "write_pipe", "datagrams", "reader", "timers"),
    *("sock_calls", "sock_connections", "streams", "sent_file", "limited_server", "upgraded", "both_upgraded"),
    *("a server is drained", "a server is suspended"),
    *(f"a server's {name}" for name in ("idle_timeout", "first_byte_timeout", "write_timeout", "max_lifetime")),
    *(f"a server's {name}" for name in ("read_rate", "write_rate", "max_connections", "max_connections_per_peer")),
    *(f"cancelled in {name}" for name in ("sleep", "wait", "sock_accept", "start_tls", "connect_accepted_socket")),
    *(f"cancelled in {name}" for name in ("connect_read_pipe", "connect_write_pipe", "create_datagram_endpoint")),
    "cancelled in create_server",
} - SELDOM
