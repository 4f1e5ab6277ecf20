"""What a scenario of the fail-call campaign plays on, and what must be true when it is over, whatever has failed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from failing_calls import FailingCalls

PATIENCE = 1.0  # seconds from the report of a MemoryError to the end of a scenario that does not end by itself

T = TypeVar("T")
AnyWitness = TypeVar("AnyWitness", bound="Witness")

#: What a program has to expect of a kernel that refuses something.
DOCUMENTED = (OSError, EOFError, MemoryError, asyncio.SendfileNotAvailableError)


class Cut(ConnectionError):
    """A peer saw its connection end before all had come: what a fault elsewhere may lead to."""


class Witness(asyncio.BaseProtocol):
    """Remembers what its transport called, and what was wrong about it."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name
        self.loop = asyncio.get_running_loop()
        self.transport: Any = None
        self.made = 0
        self.lost = 0
        self.paused = False
        self.received = bytearray()
        self.ended = False
        self.over: asyncio.Future[None] = self.loop.create_future()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        stage.witnesses.append(self)

    def wrong(self, what: str) -> None:
        self.stage.wrong(f"{self.name}: {what}")

    def _check_alive(self, what: str) -> None:
        if not self.made:
            self.wrong(f"{what} before connection_made")
        if self.lost:
            self.wrong(f"{what} after connection_lost")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.made += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not isinstance(exc, DOCUMENTED):
            self.wrong(f"connection_lost({exc!r})")
        self.lost += 1
        if not self.over.done():
            self.over.set_result(None)
        self._wake(Cut("the connection is over"))

    def pause_writing(self) -> None:
        self._check_alive("pause_writing")
        if self.paused:
            self.wrong("paused twice")
        self.paused = True

    def resume_writing(self) -> None:
        self._check_alive("resume_writing")
        if not self.paused:
            self.wrong("resumed without a pause")
        self.paused = False

    def data_received(self, data: bytes) -> None:
        self._check_alive("data_received")
        if self.ended:
            self.wrong("data_received after eof_received")
        self.received += data
        self._wake(None)

    def eof_received(self) -> bool | None:
        self._check_alive("eof_received")
        if self.ended:
            self.wrong("eof_received twice")
        self.ended = True
        self._wake(Cut("the peer has ended"))
        return None

    def _wake(self, end: Cut | None) -> None:
        waiting, self._waiting = self._waiting, []
        for count, future in waiting:
            if future.done():
                continue
            if len(self.received) >= count:
                future.set_result(None)
            elif end is not None:
                future.set_exception(end)
            else:
                self._waiting.append((count, future))

    async def bytes_in(self, count: int) -> bytes:
        """The first bytes that came, once there are so many. Cut if there won't be."""
        if len(self.received) < count:
            if self.lost or self.ended:
                raise Cut("the connection is over")
            future: asyncio.Future[None] = self.loop.create_future()
            self._waiting.append((count, future))
            await future
        return bytes(self.received)


class StreamWitness(Witness, asyncio.Protocol):
    """Of a stream."""


class Echo(StreamWitness):
    """Sends back what comes."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


class DatagramWitness(Witness, asyncio.DatagramProtocol):
    """Of datagrams."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.data_received(data)

    def error_received(self, exc: Exception) -> None:
        if not isinstance(exc, OSError):
            self.wrong(f"error_received({exc!r})")
        self._wake(Cut("a datagram was refused"))


class Stage:
    """One performance of a scenario: its loops, its witnesses, and what went wrong."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop], calls: FailingCalls) -> None:
        self.new_loop = new_loop
        self.calls = calls
        self.witnesses: list[Witness] = []
        self.reports: list[str] = []  # what the loop's exception handler was given
        self._wrong: list[str] = []
        self._played: asyncio.Task[Any] | None = None  # the scenario, while it runs

    def wrong(self, what: str) -> None:
        """Note what must not be."""
        if what not in self._wrong:
            self._wrong.append(what)

    def calm(self) -> contextlib.AbstractContextManager[None]:
        """In it, calls neither count nor fail."""
        return self.calls.calm()

    def witness(self, kind: type[AnyWitness], name: str) -> Callable[[], AnyWitness]:
        """A protocol factory."""
        return lambda: kind(self, name)

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exception = context.get("exception")
        self.reports.append(f"{context.get('message')}: {exception!r}")
        print("reported:", self.reports[-1], file=sys.stderr, flush=True)  # for a run that never ends
        if not isinstance(exception, DOCUMENTED):
            self.wrong(f"reported: {context.get('message')}: {exception!r}")
        if isinstance(exception, MemoryError) and self._played is not None:
            # A callback that could not be called, as on asyncio: a program that waits for what it does may wait for ever.
            loop.call_later(PATIENCE, self._played.cancel)

    def run(self, play: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """As asyncio.run: on a loop of its own, which is closed."""
        loop = self.new_loop()
        try:
            loop.set_exception_handler(self._report)
            played: asyncio.Task[T] = loop.create_task(play())
            self._played = played
            return loop.run_until_complete(played)
        except asyncio.CancelledError:
            raise MemoryError("what was reported has stopped the scenario") from None
        finally:
            self._played = None
            try:
                self._wind_up(loop)
            finally:
                loop.close()

    def _wind_up(self, loop: asyncio.AbstractEventLoop) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for witness in self.witnesses:
                if witness.made and not witness.lost:
                    getattr(witness.transport, "abort", witness.transport.close)()
            waits = [witness.over for witness in self.witnesses if witness.made]
            if waits:
                _, pending = await asyncio.wait(waits, timeout=2)
                if pending:
                    self.wrong("connection_lost does not come after abort()")

        ending: asyncio.Task[None] | None = None
        try:
            ending = loop.create_task(end())
            run_to_end(loop, ending)
        except (OSError, MemoryError):
            if ending is None or ending.done():
                ending = loop.create_task(end())
            run_to_end(loop, ending)  # the one fault fell here, and the rest is to be orderly all the same
            raise
        run_to_end(loop, loop.create_task(loop.shutdown_asyncgens()))
        run_to_end(loop, loop.create_task(loop.shutdown_default_executor()))

    def verdict(self, outcome: BaseException | None, transparent: bool) -> list[str]:
        """All that is wrong."""
        if outcome is not None:
            if not isinstance(outcome, DOCUMENTED):
                self.wrong(f"raised {outcome!r}")
            elif transparent:
                self.wrong(f"a fault that a program should not notice raised {outcome!r}")
        if transparent and self.reports:
            self.wrong(f"a fault that a program should not notice was reported: {self.reports}")
        for witness in self.witnesses:
            if witness.made > 1:
                witness.wrong(f"connection_made {witness.made} times")
            if witness.lost != witness.made and not (witness.lost == 1 and not witness.made):
                witness.wrong(f"connection_made {witness.made} times, connection_lost {witness.lost} times")
        return self._wrong


def run_to_end(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    """Run it, once more if need be: where an exception has ended a run, its stop may wait in the queue, as on asyncio."""
    try:
        loop.run_until_complete(task)
    except RuntimeError:
        if task.done():
            raise
        loop.run_until_complete(task)


def descriptors() -> dict[int, str]:
    """This process's, and what each one is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that listdir itself had open
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def is_child_alive() -> bool:
    """Whether a child of this process runs on. One that has ended is taken away."""
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return True
    return False


@contextlib.contextmanager
def complaints(stage: Stage) -> Iterator[None]:
    """Notes warnings, exceptions that nobody could catch, and descriptors and children that are left."""
    before = descriptors()

    def unraisable(what: Any) -> None:
        stage.wrong(f"unraisable: {what.exc_value!r} in {what.object!r}")

    def warned(message: Warning | str, category: type[Warning], *where: Any, **how: Any) -> None:
        stage.wrong(f"warned: {category.__name__}: {message}")

    earlier = sys.unraisablehook
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = warned
        sys.unraisablehook = unraisable
        try:
            yield
            gc.collect()
        finally:
            sys.unraisablehook = earlier
    for _ in range(50):
        left = {fd: what for fd, what in descriptors().items() if fd not in before}
        alive = is_child_alive()
        if not left and not alive:
            return
        time.sleep(0.02)  # a thread that woke the loop may be about to give back what it did that with
    if left:
        stage.wrong(f"descriptors leaked: {sorted(left.values())}")
    if alive:
        stage.wrong("a child runs on")
