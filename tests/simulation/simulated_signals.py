"""A signal handler at each moment at which the interpreter may run one, while edgeloop's pure edition writes.

``python tests/simulation/simulated_signals.py [--every N] [--only NAME]``: the pure edition on
the simulated kernel. The last line is JSON: how many runs there were, and what was wrong. CPython looks for signals when a
function begins, after each call and at the end of each pass of a loop. So does it for what else it does there, such as
collecting garbage, whose destructors may write too.
"""

from __future__ import annotations

import argparse
import asyncio
import dis
import functools
import itertools
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import simulated_modules  # noqa: E402
from simulated_kernel import Kernel  # noqa: E402
from simulated_socket import machine  # noqa: E402

PACKAGE = str(ROOT / "edgeloop") + "/"
CHECKED = ("RESUME", "CALL", "JUMP_BACKWARD")


@functools.cache
def _checked(code: CodeType) -> frozenset[int]:
    """The instructions before which a signal handler may run: those that follow a check."""
    names = [(one.offset, one.opname) for one in dis.get_instructions(code)]
    return frozenset(
        offset
        for (_, before), (offset, _) in itertools.pairwise(names)
        if before.startswith(CHECKED) and before != "JUMP_BACKWARD_NO_INTERRUPT"
    )


class Moments:
    """Counts the moments at which edgeloop's code may be interrupted, and calls the handler at one of them."""

    def __init__(self, moment: int, handler: Callable[[], object]) -> None:
        self.moment = moment
        self.handler = handler
        self.passed = 0
        self.where = ""

    def __enter__(self) -> Moments:
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *args: object) -> None:
        sys.settrace(None)

    def _on_call(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        self._pass(frame)
        return self._on_opcode

    def _on_opcode(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "opcode" and frame.f_lasti in _checked(frame.f_code):
            self._pass(frame)
        return self._on_opcode

    def _pass(self, frame: FrameType) -> None:
        self.passed += 1
        if self.passed == self.moment:
            self.where = f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno} {frame.f_code.co_qualname}"
            self.handler()


class Recorder(asyncio.Protocol):
    """Notes what the transport calls."""

    def __init__(self) -> None:
        self.paused = False
        self.lost = 0
        self.wrong: list[str] = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1

    def pause_writing(self) -> None:
        if self.paused or self.lost:
            self.wrong.append("pause_writing out of turn")
        self.paused = True

    def resume_writing(self) -> None:
        if not self.paused or self.lost:
            self.wrong.append("resume_writing out of turn")
        self.paused = False


class Run:
    """One transport: ``before`` waits in it, ``ours`` is written, and somewhere in the middle of that comes the handler."""

    def __init__(self, new_loop: Callable[[], Any], capacity: int) -> None:
        self.kernel = machine.kernel = Kernel(capacity=capacity)
        self.loop = new_loop()
        self.reported: list[str] = []
        self.loop.set_exception_handler(lambda loop, context: self.reported.append(repr(context.get("exception"))))
        self.came = b""
        self.written: list[bytes] = []  # pieces that must arrive whole
        self.protocol = Recorder()
        self.raised: list[str] = []
        self.transport: Any
        self.scheduled = self.called = 0

    def count_call(self) -> None:
        """What the handler schedules."""
        self.called += 1

    def open_stream(self) -> None:
        """The transport of a socket, whose peer is read by hand."""
        ours, self.peer = simulated_modules.MODULES["socket"].socketpair()
        self.peer.setblocking(False)
        self.transport, _ = self.loop.run_until_complete(self.loop.connect_accepted_socket(lambda: self.protocol, ours))

    def turn(self) -> None:
        """One turn of the loop."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def attempt(self, call: Callable[[], object]) -> None:
        """Call, and note what it raises."""
        try:
            call()
        except Exception as exc:
            self.raised.append(f"{type(exc).__name__}: {exc}")

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.attempt(lambda: self.transport.write(data))

    def drain(self) -> bool:
        """Read what has arrived. Return True if something has."""
        try:
            data = self.peer.recv(1 << 20)
        except BlockingIOError:
            return False
        self.came += data
        return bool(data)

    def settle(self) -> None:
        """Turns and reads, until nothing moves."""
        quiet = 0
        while quiet < 3:
            self.turn()
            quiet = 0 if self.drain() else quiet + 1

    def close(self) -> None:
        """End all."""
        self.transport.abort()
        self.turn()
        self.turn()
        self.loop.close()
        self.peer.close()


def _fill(run: Run) -> None:
    run.write(b"<" + bytes(run.kernel.capacity + 10) + b">")


def _writelines(run: Run) -> None:
    run.written += [b"(a)", b"(b)"]
    run.attempt(lambda: run.transport.writelines([b"(a)", b"", b"(b)"]))


def _schedule(run: Run) -> None:
    run.scheduled += 1
    run.loop.call_soon_threadsafe(run.count_call)


#: What is so before.
SITUATIONS: dict[str, Callable[[Run], object]] = {
    "there is room": lambda run: None,
    "there is none": _fill,
    "writes are gathered": lambda run: setattr(run.transport, "credit", 4),
    "little may wait": lambda run: run.transport.set_write_buffer_limits(0),
}
ACTIONS: dict[str, Callable[[Run], object]] = {
    "write": lambda run: run.write(b"[ours]"),
    "write much": lambda run: run.write(b"[" + bytes(5000) + b"]"),
    "writelines": _writelines,
    "close": lambda run: run.attempt(run.transport.close),
    "abort": lambda run: run.attempt(run.transport.abort),
    "write_eof": lambda run: run.attempt(run.transport.write_eof),
}
HANDLERS: dict[str, Callable[[Run], object]] = {
    "write": lambda run: run.write(b"{they}"),
    "write much": lambda run: run.write(b"{" + bytes(6000) + b"}"),
    "get_write_buffer_size": lambda run: run.attempt(run.transport.get_write_buffer_size),
    "close": lambda run: run.attempt(run.transport.close),
    "abort": lambda run: run.attempt(run.transport.abort),
    "write_eof": lambda run: run.attempt(run.transport.write_eof),
    "call_soon_threadsafe": _schedule,
}
#: Of the buffers in the kernel: what takes one of the pieces that are written, and not two, and what takes all.
CAPACITIES = (6, 100, 65536)


def wrong_with(run: Run, ends: set[str]) -> Iterator[str]:
    """What must not be so when nothing moves any more."""
    transport, protocol = run.transport, run.protocol
    yield from protocol.wrong
    yield from (f"reported: {what}" for what in run.reported)
    yield from (f"raised: {what}" for what in run.raised if "after write_eof" not in what)
    if run.called != run.scheduled:
        yield "what was scheduled has not been called once"
    size = sum(map(len, transport._write_buffer))
    if transport._write_buffer_size != size:
        yield f"the size is {transport._write_buffer_size}, but {size} bytes wait"
    if size:
        yield f"{size} bytes wait for ever"
    if protocol.paused and protocol.lost == 0:
        yield "the protocol is not resumed"
    # A write that begins before write_eof and reaches the kernel after it meets EPIPE, as on asyncio.
    if protocol.lost != bool(ends & {"close", "abort"}) and "write_eof" not in ends:
        yield f"connection_lost was called {protocol.lost} times"
    left, came = list(run.written), run.came
    while piece := next((piece for piece in left if came.startswith(piece)), b""):
        left.remove(piece)
        came = came[len(piece) :]
    if came and not ("abort" in ends and any(piece.startswith(came) for piece in left)):
        yield f"what came is not what was written: {came[:40]!r}"
    lost = [piece[:10] for piece in left if not ends or (piece[:1] == b"<" and "abort" not in ends)]
    if lost:
        yield f"lost: {lost}"


def play(
    new_loop: Callable[[], Any], situation: str, action: str, handler: str, moment: int, capacity: int
) -> tuple[int, str, list[str]]:
    """One run. Return how many moments there were, where the handler was called, and what was wrong."""
    run = Run(new_loop, capacity)
    run.open_stream()
    SITUATIONS[situation](run)
    moments = Moments(moment, lambda: HANDLERS[handler](run))

    def act() -> None:
        ACTIONS[action](run)

    run.loop.call_soon(act)
    try:
        with moments:
            run.turn()
            run.turn()
        run.settle()
        wrong = list(wrong_with(run, {action, handler} & {"close", "abort", "write_eof"}))
        run.close()
        if run.protocol.lost != 1:
            wrong.append(f"connection_lost was called {run.protocol.lost} times at the end")
    except Exception as exc:
        wrong = [f"the loop has ended: {exc!r}"]
    return moments.passed, moments.where, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="of so many moments one")
    parser.add_argument("--only", default="", help="what the name of a run contains")
    options = parser.parse_args()
    new_loop = simulated_modules.load().new_event_loop
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    runs = 0
    found: list[str] = []
    for number, (situation, action, handler, capacity) in enumerate(
        itertools.product(SITUATIONS, ACTIONS, HANDLERS, CAPACITIES)
    ):
        name = f"{situation}, {action}, in it {handler}, capacity {capacity}"
        if options.only not in name:
            continue
        moment = 1 + number % options.every
        while True:
            _, where, wrong = play(new_loop, situation, action, handler, moment, capacity)
            runs += 1
            if not where:
                break
            found += [f"{name}, at moment {moment}, {where}: {what}" for what in wrong]
            moment += options.every
    print("\n".join(found))
    print(json.dumps({"runs": runs, "wrong": found[:20]}))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
