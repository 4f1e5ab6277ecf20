"""Random sequences of operations, each carried out on the simulated kernel and on the real one, and compared.

Every return value, errno, event and mask has to be the same, the numbers of descriptors and the order of events too.
Where Linux itself leaves something open, that is left out: how much a socket's buffer takes (it is filled to the brim on
both, and emptied before the next partial read), and the order of events on TCP and UDP, which arrive by softirq. There the
real side is waited for, until the levels are those of the model.

``python tests/simulation/kernel_agreement.py --sequences 100000 --seed 1``
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import random
import select
import socket
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import simulated_modules
from simulated_kernel import EDGE, ERR, HUP, IN, OUT, PRI, RDHUP, Kernel
from simulated_socket import SimulatedSocket, machine, socketpair

REAL: dict[str, ModuleType] = {"os": os, "select": select, "socket": socket, "fcntl": fcntl}
LEVELS = IN | OUT | PRI | RDHUP | HUP | ERR
INTERESTS = (IN, OUT, IN | OUT, IN | RDHUP, IN | RDHUP | OUT, IN | RDHUP | PRI, RDHUP, IN | PRI)
LINGER = struct.pack("ii", 1, 0)
FIN_WAIT1, LAST_ACK, CLOSING = 4, 9, 11  # tcp_states.h
SECONDS = 20.0  # that the real kernel may take to arrive where the model is


class Disagreement(AssertionError):
    """The two kernels have not done the same."""


class Thing:
    """One descriptor, in both worlds: a socket object or a number in each."""

    def __init__(self, kind: str, model: Any, real: Any) -> None:
        self.kind = kind
        self.handles = (model, real)
        self.open = True

    def numbers(self) -> tuple[int, int]:
        """Its descriptors."""
        model, real = (handle if isinstance(handle, int) else handle.fileno() for handle in self.handles)
        return model, real


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, or its errno."""
    try:
        return call(*arguments)
    except OSError as exc:
        return f"errno {errno.errorcode.get(exc.errno or 0, exc.errno)}"


class Comparison:
    """One sequence."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.history: list[str] = []
        taken = frozenset(map(int, os.listdir("/proc/self/fd")))
        # The listing's own descriptor is closed again.
        self.kernel = machine.kernel = Kernel(frozenset(fd for fd in taken if os.path.exists(f"/proc/self/fd/{fd}")))
        self.things: list[Thing] = []
        self.epolls: list[tuple[Any, Any]] = []
        self.by_softirq = False  # TCP or UDP takes part
        self.filled: set[int] = set()  # places of sockets that are filled to the brim
        self.names = 0

    # Both at once

    def both(self, what: str, model: Any, real: Any) -> Any:
        """Note what was done; raise Disagreement unless the outcomes are equal. Return them."""
        self.history.append(f"{what} -> {model!r:.80}")
        if model != real:
            raise Disagreement(
                f"seed {self.seed}: {what}: the model gives {model!r:.200}, Linux {real!r:.200}, after:\n"
                + "\n".join(self.history)
            )
        return model

    def call(self, thing: Thing, name: str, *arguments: Any) -> Any:
        """Call a method of a socket, or a function of os on a number."""
        results = []
        for modules, handle in zip((simulated_modules.MODULES, REAL), thing.handles, strict=True):
            if isinstance(handle, int):
                results.append(outcome(getattr(modules["os"], name), handle, *arguments))
            else:
                results.append(outcome(getattr(handle, name), *arguments))
        return self.both(f"{thing.kind}{thing.numbers()[0]}.{name}{arguments!r:.60}", results[0], results[1])

    def new(self, kind: str, model: Any, real: Any) -> Thing:
        """Something new is open: under the same number."""
        thing = Thing(kind, model, real)
        self.both(f"new {kind}", *thing.numbers())
        self.things.append(thing)
        return thing

    def settle(self) -> None:
        """Wait until TCP and UDP have come as far on the real side as in the model."""
        if not self.by_softirq:
            return
        limit = 0.0
        for place, thing in enumerate(self.things):
            if not thing.open or thing.kind not in ("tcp", "listener", "udp"):
                continue
            model, real = thing.numbers()
            file: Any = self.kernel.file(model)
            poller = select.poll()
            poller.register(real, LEVELS)
            while True:
                wanted = file.poll()
                found = poller.poll(0)
                mask = found[0][1] if found else 0
                if mask == wanted and self._has_settled(thing, real, file, place):
                    break
                now = time.monotonic()
                limit = limit or now + SECONDS
                if now > limit:
                    self.both(f"levels of {thing.kind}{model}", (wanted, file.size()), (mask, self._unread(real)))
                time.sleep(0.0005)

    def _has_settled(self, thing: Thing, real: int, file: Any, place: int) -> bool:
        if thing.kind == "listener":
            return True
        if thing.kind == "tcp" and file.write_shut:
            # The acknowledgement of FIN is delayed, and is an edge of its own.
            state = thing.handles[1].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if state in (FIN_WAIT1, LAST_ACK, CLOSING):
                return False
        return place in self.filled or self._unread(real) == file.size()

    @staticmethod
    def _unread(fd: int) -> int:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little")

    # Operations

    def choose(self, *kinds: str) -> Thing | None:
        """Something of one of these kinds that is open."""
        found = [thing for thing in self.things if thing.open and thing.kind in kinds]
        return self.random.choice(found) if found else None

    def data(self) -> bytes:
        """Something to write."""
        size = self.random.choice((1, 2, 10, 100, 1000))
        return bytes([self.random.randrange(256)]) * size

    def do_open(self) -> None:
        what = self.random.choice(self.kinds)
        if what == "pipe":
            flags = os.O_NONBLOCK | os.O_CLOEXEC
            model, real = simulated_modules.os_pipe2(flags), os.pipe2(flags)
            self.new("reader", model[0], real[0])
            self.new("writer", model[1], real[1])
        elif what == "eventfd":
            flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
            self.new("eventfd", simulated_modules.os_eventfd(0, flags), os.eventfd(0, flags))
        elif what == "unix":
            for ours, theirs in zip(socketpair(), socket.socketpair(), strict=True):
                ours.setblocking(False)
                theirs.setblocking(False)
                self.new("unix", ours, theirs)
        elif what == "udp":
            self._bound("udp", socket.AF_INET, socket.SOCK_DGRAM)
        elif what == "datagram":
            self._bound("datagram", socket.AF_UNIX, socket.SOCK_DGRAM)
        elif what == "null":
            self.new(
                "null",
                simulated_modules.os_open("/dev/null", os.O_RDONLY),
                os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC),
            )
        else:
            listener = self.choose("listener" if what == "tcp" else "unixlistener")
            if listener is None:
                family = socket.AF_INET if what == "tcp" else socket.AF_UNIX
                listener = self._bound("listener" if what == "tcp" else "unixlistener", family, socket.SOCK_STREAM)
                self.call(listener, "listen", 3)
            else:
                self._connect(listener, what)

    def _bound(self, kind: str, family: int, type: int) -> Thing:
        model, real = SimulatedSocket(family, type), socket.socket(family, type)
        self.names += 1
        for handle in (model, real):
            handle.setblocking(False)
            if family == socket.AF_INET:
                handle.bind(("127.0.0.1", 0))
            else:
                handle.bind(f"\0edgeloop-agreement-{os.getpid()}-{self.seed}-{self.names}")
        return self.new(kind, model, real)

    def _connect(self, listener: Thing, what: str) -> None:
        family = socket.AF_INET if what == "tcp" else socket.AF_UNIX
        waiting = self.kernel.file(listener.numbers()[0]).waiting  # type: ignore[attr-defined]
        if what == "tcp" and len(waiting) >= 3:
            return  # Linux would drop the SYN, and try again after a second
        client = self.new(
            "tcp" if what == "tcp" else "unix",
            SimulatedSocket(family, socket.SOCK_STREAM),
            socket.socket(family, socket.SOCK_STREAM),
        )
        client.handles[0].setblocking(False)
        client.handles[1].setblocking(False)
        if self.random.random() < 0.3 and self.epolls:
            self._control(client)  # before connect: HUP, by which EPOLLOUT means nothing
        if self.random.random() < 0.1:
            self.call(client, "send", b"x")
            self.call(client, "recv", 10)
        self._connect_to(client, listener)

    def _connect_to(self, client: Thing, listener: Thing) -> None:
        results = [
            outcome(handle.connect, target.getsockname())
            for handle, target in zip(client.handles, listener.handles, strict=True)
        ]
        self.both(f"{client.kind}{client.numbers()[0]}.connect", *results)

    def do_connect_again(self) -> None:
        client, listener = self.choose("tcp"), self.choose("listener")
        if client is not None and listener is not None:
            file: Any = self.kernel.file(client.numbers()[0])
            if file.asked and file.state == 3:
                self._connect_to(client, listener)

    def do_accept(self) -> None:
        listener = self.choose("listener", "unixlistener")
        if listener is None:
            return
        results = [outcome(handle.accept) for handle in listener.handles]
        kind = "tcp" if listener.kind == "listener" else "unix"
        if isinstance(results[0], str) or isinstance(results[1], str):
            self.both("accept", *results)
            return
        for accepted, _ in results:
            accepted.setblocking(False)
        self.new(kind, results[0][0], results[1][0])

    def do_send(self) -> None:
        thing = self.choose("tcp", "unix", "writer", "eventfd")
        if thing is None:
            return
        if thing.kind == "eventfd":
            self.call(thing, "eventfd_write", self.random.choice((1, 5, 2**64 - 3)))
        elif thing.kind == "writer":
            size = self.random.choice((0, 1, 10, 1000, 4095, 4096, 4097, 9000, 65536, 70000))
            self.call(thing, "write", bytes([self.random.randrange(256)]) * size)
        elif self.things.index(thing) not in self.filled and not self._peer_is_filled(thing):
            self.call(thing, "send", self.data())

    def do_recv(self) -> None:
        thing = self.choose("tcp", "unix", "reader", "eventfd")
        if thing is None:
            return
        if thing.kind == "eventfd":
            self.call(thing, "eventfd_read")
        elif thing.kind == "reader":
            self.call(thing, "read", self.random.choice((1, 100, 4096, 5000, 70000)))
        elif not self._peer_is_filled(thing):
            self.call(thing, "recv", self.random.choice((1, 50, 1000, 100000)))

    def _peer(self, thing: Thing) -> Thing | None:
        file: Any = self.kernel.file(thing.numbers()[0])
        for other in self.things:
            if other.open and other is not thing and self.kernel.file(other.numbers()[0]) is getattr(file, "peer", 0):
                return other
        return None

    def _peer_is_filled(self, thing: Thing) -> bool:
        file: Any = self.kernel.file(thing.numbers()[0])
        return any(
            self.things[place].open and self.kernel.file(self.things[place].numbers()[0]) is getattr(file, "peer", 0)
            for place in self.filled
        )

    def do_fill(self) -> None:
        """Send until it would block, and later receive all of it."""
        thing = self.choose("unix")
        if thing is None:
            return
        place = self.things.index(thing)
        peer = self._peer(thing)
        if peer is None or self._peer_is_filled(thing):
            return
        if place not in self.filled:
            ends = []
            for handle in thing.handles:
                while not isinstance(end := outcome(handle.send, bytes(30000)), str):
                    pass
                ends.append(end)
            self.both(f"fill {thing.numbers()[0]}", *ends)
            if ends[0] == "errno EAGAIN":
                self.filled.add(place)
        else:
            ends = []
            for handle in peer.handles:
                while not isinstance(end := outcome(handle.recv, 1 << 20), str) and end:
                    pass
                ends.append(end)
            self.both(f"empty {peer.numbers()[0]}", *ends)
            self.filled.discard(place)

    def do_datagram(self) -> None:
        kind = self.random.choice(("udp", "datagram"))
        sender, receiver = self.choose(kind), self.choose(kind)
        if sender is None or receiver is None:
            return
        target: Any = self.kernel.file(receiver.numbers()[0])
        action = self.random.random()
        if action < 0.4:
            if kind == "udp" and target.queue:
                return  # whether a second has come can't be seen
            data = self.data()
            results = [
                outcome(mine.sendto, data, theirs.getsockname())
                for mine, theirs in zip(sender.handles, receiver.handles, strict=True)
            ]
            self.both(f"{kind}{sender.numbers()[0]}.sendto {receiver.numbers()[0]}", *results)
        elif action < 0.85:
            results = [outcome(lambda handle=handle: handle.recvfrom(2000)[0]) for handle in receiver.handles]
            self.both(f"{kind}{receiver.numbers()[0]}.recvfrom", *results)
        elif kind == "udp" and sender is not receiver and not target.queue:
            results = [
                outcome(mine.connect, theirs.getsockname())
                for mine, theirs in zip(sender.handles, receiver.handles, strict=True)
            ]
            self.both(f"{kind}{sender.numbers()[0]}.connect", *results)

    def do_names(self) -> None:
        thing = self.choose("tcp", "unix", "udp")
        if thing is not None:
            if self.random.random() < 0.5:
                self.call(thing, "getsockopt", socket.SOL_SOCKET, socket.SO_ERROR)
            else:
                results = [isinstance(outcome(handle.getpeername), str) for handle in thing.handles]
                if thing.kind != "unix":
                    self.both(f"{thing.kind}{thing.numbers()[0]}.getpeername fails", *results)

    def do_shutdown(self) -> None:
        thing = self.choose("tcp", "unix")
        if thing is not None and self._is_calm(thing):
            how = socket.SHUT_WR if thing.kind == "tcp" else self.random.randrange(3)
            self.call(thing, "shutdown", how)

    def _is_calm(self, thing: Thing) -> bool:
        return self.things.index(thing) not in self.filled and not self._peer_is_filled(thing)

    def do_close(self) -> None:
        thing = self.choose("tcp", "unix", "reader", "writer", "eventfd", "listener", "unixlistener", "udp", "datagram")
        if thing is not None and self._is_calm(thing):
            if thing.kind == "tcp" and self.random.random() < 0.3:
                self.call(thing, "setsockopt", socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            thing.open = False
            if isinstance(thing.handles[0], int):
                self.call(thing, "close")
            else:
                for handle in thing.handles:
                    handle.close()
                self.history.append(f"close {thing.kind}")

    def do_dup(self) -> None:
        thing = self.choose("unix", "tcp", "reader", "writer", "udp")
        if thing is not None:
            if isinstance(thing.handles[0], int):
                self.new(thing.kind, simulated_modules.os_dup(thing.handles[0]), os.dup(thing.handles[1]))
            elif self._is_calm(thing):
                self.new(thing.kind, thing.handles[0].dup(), thing.handles[1].dup())

    # The epoll set

    def do_control(self) -> None:
        thing = self.random.choice([thing for thing in self.things if thing.open] or [None])
        if thing is not None:
            self._control(thing)

    def _control(self, thing: Thing) -> None:
        place = self.random.randrange(len(self.epolls))
        what = self.random.choice(("register", "register", "modify", "modify", "unregister"))
        mask = self.random.choice(INTERESTS) | (EDGE if self.random.random() < 0.9 else 0)
        arguments = () if what == "unregister" else (mask,)
        results = [
            outcome(getattr(epoll, what), number, *arguments)
            for epoll, number in zip(self.epolls[place], thing.numbers(), strict=True)
        ]
        self.both(f"epoll{place}.{what} {thing.kind}{thing.numbers()[0]} {mask:#x}", *results)

    def do_wait(self) -> None:
        place = self.random.randrange(len(self.epolls))
        limit = 64 if self.by_softirq else self.random.choice((1, 2, 64))
        results = [outcome(epoll.poll, 0, limit) for epoll in self.epolls[place]]
        if self.by_softirq:
            results = [sorted(found) for found in results]
        self.both(f"epoll{place}.poll(0, {limit})", *results)

    ACTIONS = (
        ("do_open", 3),
        ("do_accept", 2),
        ("do_send", 6),
        ("do_recv", 6),
        ("do_fill", 1),
        ("do_datagram", 3),
        ("do_names", 1),
        ("do_shutdown", 1),
        ("do_close", 2),
        ("do_dup", 1),
        ("do_connect_again", 1),
        ("do_control", 8),
        ("do_wait", 8),
    )

    def run(self, length: int = 40) -> None:
        """Carry out one sequence, and close everything."""
        self.kinds = self.random.choice(
            (
                ("pipe",),
                ("unix",),
                ("pipe", "unix", "eventfd", "null"),
                ("unixstream",),
                ("datagram",),
                ("tcp",),
                ("udp",),
            )
        )
        self.by_softirq = self.kinds in (("tcp",), ("udp",))
        names = [name for name, _ in self.ACTIONS]
        weights = [weight for _, weight in self.ACTIONS]
        try:
            for _ in range(self.random.choice((1, 1, 2))):
                pair = simulated_modules.SimulatedEpoll(), select.epoll()
                self.epolls.append(pair)
                self.both("epoll_create", pair[0].fileno(), pair[1].fileno())
            for name in ["do_open", "do_open", *self.random.choices(names, weights, k=length)]:
                if len(self.things) < 20 or name not in ("do_open", "do_dup", "do_accept"):
                    getattr(self, name)()
                    self.settle()
        finally:
            for epolls in self.epolls:
                for epoll in epolls:
                    epoll.close()
            for thing in self.things:
                if thing.open:
                    real = thing.handles[1]
                    if isinstance(real, int):
                        os.close(real)
                    else:
                        if thing.kind == "tcp":
                            real.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
                        real.close()


def compare(first: int, count: int) -> None:
    """Run that many sequences. Raise Disagreement with the first that differs."""
    before = machine.kernel
    try:
        for seed in range(first, first + count):
            Comparison(seed).run()
    finally:
        machine.kernel = before


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sequences", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    compare(options.seed, options.sequences)
    took = time.monotonic() - began
    print(f"{options.sequences} sequences agree with {Path('/proc/version').read_text().split(' (')[0]}, {took:.0f} s")


if __name__ == "__main__":
    main()
