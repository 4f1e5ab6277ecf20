"""One run: a loop on a kernel of its own, scenes that are played on it, and the oracles that watch.

A run goes on until nothing can happen any more. Then what was paused is resumed and the other processes read all: what was
written must have arrived. Then everything is closed: each transport must have been lost once, and no descriptor be open.
"""

from __future__ import annotations

import asyncio
import errno
import gc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import simulated_oracles
from simulated_endpoints import WRITES, CallbackError, Endpoint
from simulated_kernel import EpollSet, EventFd, Kernel
from simulated_peers import Flow, OracleError, ParentProcess, Peer
from simulated_socket import BlockedError, machine
from simulated_weather import Faults
from tape import Tape

CAPACITIES = (212992, 1, 100, 4096, 70000, 400000)
DELAYS = (0.0, 1e-5, 1e-3, 0.1, 10.0)
MAX_TURNS = 4000
BUSY_TURNS = 30
LIMIT = 1 << 16
TRIES = 10  # of a forked child, for a set of its own
HERE = str(Path(__file__).parent)


def _awaits(task: asyncio.Task[Any]) -> str:
    # What a task waits in: the first coroutine that is not of a scene.
    if task.done():
        return "a task that has ended"
    found: Any = task.get_coro()
    while found is not None and hasattr(found, "cr_code"):
        if not found.cr_code.co_filename.startswith(HERE):
            return str(found.__name__)
        found = found.cr_await
    return "a scene"


class Run:
    """The state of one run."""

    def __init__(self, tape: Tape, seen: Counter[str], log: list[str] | None = None) -> None:
        self.tape = tape
        self.seen = seen
        self.failures: list[str] = []
        self.kernel = machine.kernel = Kernel(capacity=CAPACITIES[tape.below(len(CAPACITIES))])
        self.kernel.log = log
        self.kernel.pipe_slots = (16, 1, 2)[tape.below(3)]
        self.faults = Faults(self.kernel, tape, self, seen)
        self.steps = (4, 8, 16, 32)[tape.below(4)]  # that other processes may make
        self.budget = (4, 8, 16, 32)[tape.below(4)]  # actions of callbacks
        self.endpoints: list[Endpoint] = []
        self.peers: list[Peer] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.servers: list[Any] = []
        self.cleanups: list[Callable[[], object]] = []  # what the scenes' own descriptors need
        self.timers: list[tuple[float, int, Any]] = []  # pending: when, the wait in which it was made, the handle
        # What is read by streams: the flow, how many bytes are in the reader, and whether somebody waits there.
        self.readings: list[tuple[Flow, Callable[[], int], Callable[[], bool]]] = []
        self.phase = 0
        self.flows: list[Flow] = []
        self.last_moved = (-1, 0.0)
        self.still = 0
        self.tick = 0
        self.loop: Any = None
        self.reopen: Callable[[Run], None]  # the scene that is played where a callback opens something

    # Failures

    def fail(self, what: str) -> None:
        """Note what must never happen. It is no exception: a loop reports those of callbacks."""
        self.failures.append(what)

    def flow(self) -> Flow:
        """A new direction of a connection."""
        self.flows.append(Flow(len(self.flows) + 1))
        return self.flows[-1]

    def bounded(self, size: int) -> int:
        """A size that does not take thousands of turns."""
        return min(size, 40 * self.kernel.capacity)

    # What callbacks do

    def act(self, endpoint: Endpoint | None) -> None:
        """Do something, or nothing."""
        if self.budget <= 0:
            return
        self.budget -= 1
        what = self.tape.below(37)
        if what < 8:
            return
        self.kernel.note(what)
        if endpoint is None or endpoint.lost or not endpoint.is_ready:
            what = 22 + what % 13
        if (what < 22 or what > 34) and endpoint is not None:
            if endpoint.transport.get_protocol() is not None:
                self._act_on(endpoint, endpoint.transport, what)
        else:
            self._act_on_loop(endpoint, what)

    def _act_on(self, endpoint: Endpoint, transport: Any, what: int) -> None:
        stream = endpoint.incoming is not None
        if what <= 11:
            endpoint.write(WRITES[self.tape.below(len(WRITES))])
        elif what == 12 and endpoint.out is not None:
            endpoint.writelines()
        elif what == 13 and endpoint.out is not None:
            endpoint.write_eof()
        elif what == 14 and (stream or endpoint.out is None):
            self.seen["pause_reading"] += 1
            transport.pause_reading()
        elif what == 15 and (stream or endpoint.out is None):
            self.seen["resume_reading"] += 1
            transport.resume_reading()
        elif what == 16:
            self.seen["close"] += 1
            transport.close()
        elif what == 17 and hasattr(transport, "abort"):
            self.seen["abort"] += 1
            endpoint.may_lose = True
            transport.abort()
        elif what == 18 and stream and endpoint.out is not None:
            self.seen["set_protocol"] += 1
            transport.set_protocol(endpoint.face())
        elif what == 19 and endpoint.out is not None:
            self.seen["set_write_buffer_limits"] += 1
            high = (0, 1, 65536, 200)[self.tape.below(4)]
            transport.set_write_buffer_limits(high, min(high, (0, 1000)[self.tape.below(2)]))
        elif what == 20 and stream and endpoint.out is not None:
            sock = transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0 and hasattr(sock, "dup"):
                endpoint.duplicates.append(sock.dup())
        elif what == 21 and endpoint.socket is not None:
            endpoint.may_lose = True
            self.close_by_owner(endpoint.socket)
        elif what >= 35 and hasattr(transport, "abort"):
            # Its number is free, and taken again, in the turn that may have an event for it.
            endpoint.may_lose = True
            transport.abort()
            self.loop.call_soon(self._begin, self.reopen)

    def close_by_owner(self, sock: Any) -> None:
        """The program closes something behind the loop's back."""
        self.seen["a descriptor is closed by its owner"] += 1
        self.close(sock)

    def close(self, sock: Any) -> None:
        """The program closes something of its own."""
        self.kernel.by_owner = True
        try:
            sock.close()
        finally:
            self.kernel.by_owner = False

    def _act_on_loop(self, endpoint: Endpoint | None, what: int) -> None:
        loop = self.loop
        if what <= 24:
            loop.call_soon(self.act, endpoint)
        elif what <= 27:
            self.call_at(loop.time() + DELAYS[self.tape.below(len(DELAYS))], endpoint)
        elif what == 28 and self.timers:
            self.seen["a timer is cancelled"] += 1
            self.timers.pop(self.tape.below(len(self.timers)))[2].cancel()
        elif what == 29 and self.tasks:
            task = self.tasks[self.tape.below(len(self.tasks))]
            self.seen[f"cancelled in {_awaits(task)}"] += 1
            task.cancel()
        elif what == 30:
            loop.stop()
            self.seen["the loop is stopped"] += 1
        elif what == 31:
            self.seen["a callback raises"] += 1
            if endpoint is not None:
                endpoint.may_lose = True
            raise CallbackError
        elif what == 32:
            self.seen["KeyboardInterrupt in a callback"] += 1
            if endpoint is not None:
                endpoint.may_lose = True
            raise KeyboardInterrupt
        elif what == 33:
            self.kernel.now += (1e-5, 2e-4, 5e-3)[self.tape.below(3)]  # it computes
        elif what == 34:
            self._begin(self.reopen)

    def call_at(self, when: float, endpoint: Endpoint | None) -> None:
        """Set a timer, whose order is checked."""
        entry: list[Any] = []
        handle = self.loop.call_at(when, self._on_time, entry, endpoint)
        entry.append((when, self.kernel.waits, handle))
        self.timers.append(entry[0])

    def _on_time(self, entry: list[Any], endpoint: Endpoint | None) -> None:
        self.kernel.moved += 1
        when, _, _ = timer = entry[0]
        if self.kernel.now < when:
            self.fail(f"a timer is {when - self.kernel.now} s early")
        for other in self.timers:
            if other[0] < when and other[1] < self.kernel.waits:
                self.fail("a later timer is first")
        if timer in self.timers:
            self.timers.remove(timer)
        self.act(endpoint)

    # The weather's World

    def others_act(self) -> bool:
        """One of the other processes does something."""
        if self.steps <= 0 and self.phase == 0:
            return False
        peers = self.peers
        if not peers:
            return False
        self.steps -= 1
        first = self.tape.below(len(peers)) if self.phase == 0 else 0
        for place in range(len(peers)):
            peer = peers[(first + place) % len(peers)]
            try:
                if peer.act():
                    self.kernel.moved += 1
                    return True
            except OracleError as exc:
                self.fail(str(exc))
        return False

    def signal(self) -> None:
        """A signal handler schedules something."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.act, None)

    def fell_asleep(self) -> None:
        """The loop sleeps. Nothing may be left that it wants."""
        self.failures.extend(simulated_oracles.left_behind(self.loop, self.kernel))

    def on_turn(self) -> None:
        """A wait begins."""
        kernel = self.kernel
        mark = (kernel.moved, kernel.now)
        if mark == self.last_moved:
            self.still += 1
            if self.still > BUSY_TURNS:
                self.fail("the loop is busy with nothing")
                raise OracleError("busy")
        else:
            self.still = 0
            self.last_moved = mark
        if kernel.waits > MAX_TURNS:
            arrived = sum(flow.taken for flow in self.flows)
            if kernel.waits > MAX_TURNS + arrived:  # a reader may take one byte in a turn
                self.fail(f"{kernel.waits} turns for {arrived} bytes")
                raise OracleError("turns")

    def nothing_left(self) -> None:
        """Nothing but timers can go on: the next phase."""
        self.phase += 1
        self.faults.calm()
        self.budget = 0
        loop = self.loop
        if self.phase == 1:
            for peer in self.peers:
                peer.draining = True
            for _, _, timer in self.timers:
                timer.cancel()
            loop.call_soon_threadsafe(self._resume)
        elif self.phase == 2:
            simulated_oracles.check_arrival(self)
            loop.call_soon_threadsafe(self._close)
        elif self.phase == 3:
            # Whoever still has bytes for a peer that never reads is closing for ever.
            for endpoint in self.endpoints:
                if endpoint.made and not endpoint.lost and not getattr(endpoint.transport, "_write_buffer", None):
                    if not simulated_oracles.is_held(endpoint):
                        self.fail("a transport was closed, has sent all and is not lost")
            loop.call_soon_threadsafe(self._abort)
        elif self.phase == 4:
            for task in self.tasks:
                if not task.done():
                    self.fail(f"a task waits for ever: {task!r}")
                    task.cancel()
            for endpoint in self.endpoints:
                if endpoint.made and not endpoint.lost:
                    self.fail("connection_lost was not called")
            loop.call_soon_threadsafe(loop.stop)
        else:
            self.fail("the loop does not stop")
            raise OracleError("stop")

    def _resume(self) -> None:
        for endpoint in self.endpoints:
            if endpoint.made and not endpoint.lost and endpoint.incoming is not None:
                endpoint.transport.resume_reading()

    def _abort(self) -> None:
        for endpoint in self.endpoints:
            if endpoint.made and not endpoint.lost:
                endpoint.transport.abort()

    def _close(self) -> None:
        for endpoint in self.endpoints:
            if endpoint.paused and endpoint.is_ready and not endpoint.lost and not endpoint.transport.is_closing():
                if not endpoint.transport.get_write_buffer_size():
                    self.fail("a protocol is paused, and all has been sent")
        for task in self.tasks:
            task.cancel()
        for server in self.servers:
            server.close()
        for endpoint in self.endpoints:
            if endpoint.made and not endpoint.lost:
                endpoint.transport.close()
        for cleanup in self.cleanups:
            cleanup()
        for peer in self.peers:
            peer.close()

    # From beginning to end

    def play(self, new_loop: Callable[[], Any], scenes: Sequence[Callable[[Run], None]]) -> None:
        """Play scenes on a loop. ``failures`` has what was wrong."""
        self.loop = loop = new_loop()
        loop.set_exception_handler(self._reported)
        try:
            self.reopen = scenes[0]
            chosen = [scenes[self.tape.below(len(scenes))] for _ in range(1 + self.tape.below(3))]
            if self.tape.below(4) == 3:
                self.kernel.limit = self.kernel.next + 1 + self.tape.below(6)
            self.faults.begin()
            for scene in chosen:
                self.seen[scene.__name__] += 1
                loop.call_soon(self._begin, scene)
            while self.phase < 4:
                try:
                    loop.run_forever()
                except KeyboardInterrupt:
                    self.kernel.interrupted_in = self.kernel.waits
                    for endpoint in self.endpoints:
                        endpoint.read_in = -1  # the turn goes on in the next run
                except OSError as exc:
                    # A forked child needs an epoll set, an eventfd and a pipe of its own.
                    if not self.kernel.parents or self.kernel.limit > LIMIT + TRIES:
                        self.fail(f"run_forever has raised {exc!r}")
                        break
                    self.kernel.limit = max(self.kernel.limit, LIMIT) + 1
                    if self.kernel.limit > LIMIT + TRIES:
                        self.faults.calm()  # where every third call fails, each of the tries may
                except (OracleError, BlockedError) as exc:
                    self.fail(repr(exc))
                    break
                if loop.reactor.flush_queue:
                    self.fail("bytes are gathered after the run")
                if self.phase == 0 and self.budget > 0 and self.tape.below(8) == 7:
                    self.budget -= 1
                    self._fork()
        finally:
            self._end(loop)

    def _fork(self) -> None:
        """Go on as a forked child. The parent keeps every file open until it ends, and uses its epoll set by itself."""
        from edgeloop.core import fork

        self.seen["a fork"] += 1
        kernel = self.kernel
        fork._before_fork()
        self.peers.append(ParentProcess(self.tape, list(kernel.files.values())))
        kernel.parents.update(file for file in kernel.files.values() if isinstance(file, (EpollSet, EventFd)))
        kernel.pid += 1
        fork._after_fork_in_child()

    def _begin(self, scene: Callable[[Run], None]) -> None:
        try:
            scene(self)
        except OSError as exc:
            if exc.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC):
                raise

    def _end(self, loop: Any) -> None:
        self.faults.calm()
        kernel = self.kernel
        kernel.weather = None
        for endpoint in self.endpoints:
            for duplicate in endpoint.duplicates:
                duplicate.close()
            endpoint.duplicates.clear()
            if endpoint.socket is not None:
                self.close_by_owner(endpoint.socket)
        loop.close()
        self.seen.update(kernel.reused)
        if self.failures:
            return
        if kernel.stale:
            self.fail(kernel.stale[0])
        if kernel.undeleted:
            self.fail(f"closed without EPOLL_CTL_DEL: {kernel.undeleted} (rule 1)")
        if kernel.files:
            self.endpoints.clear()
            self.tasks.clear()
            self.readings.clear()  # a reader's exception refers to the turn that it came from
            gc.collect()
            if kernel.files:
                self.fail(f"descriptors are open: {kernel.files}")

    def _reported(self, loop: Any, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        if isinstance(exc, (CallbackError, OSError)):
            return
        if isinstance(exc, OracleError):
            self.fail(str(exc))
        else:
            self.fail(f"reported: {context.get('message')}: {exc!r}")


def watch_channels() -> None:
    """Have each channel checked that is called: not in the turn in which it was registered (rule 9)."""
    from edgeloop.core.reactor import Reactor
    from edgeloop.loop.watch import Watch
    from edgeloop.serving.listener import Listener
    from edgeloop.transports.datagram import DatagramTransport
    from edgeloop.transports.pipe import ReadPipeTransport, WritePipeTransport
    from edgeloop.transports.stream import StreamTransport

    def watch_add(function: Any) -> Any:
        def add(self: Any, channel: Any, interest: int) -> None:
            channel.simulated_birth = self, machine.kernel.waits
            function(self, channel, interest)

        return add

    def watch_on_ready(function: Any) -> Any:
        def on_ready(self: Any) -> None:
            kernel = machine.kernel
            if self.simulated_birth[1] == kernel.waits != kernel.interrupted_in:
                kernel.stale.append(f"{self!r} was called in the turn in which it was registered (rule 9)")
            function(self)

        return on_ready

    Reactor.add = watch_add(Reactor.add)  # type: ignore[method-assign]
    kinds: list[Any] = [Watch, Listener, DatagramTransport, ReadPipeTransport, WritePipeTransport, StreamTransport]
    for kind in kinds:
        kind.on_ready = watch_on_ready(kind.on_ready)
