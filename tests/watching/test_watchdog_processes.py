"""What can be seen only from outside: a block that holds the interpreter's lock, a process that is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pytest
from example_process import environment
from interpreters import needs_calls_with_the_lock
from watched_loops import program

from edgeloop.kernel import pulse

pytestmark = pytest.mark.edgeloop_only

WATCHED = """
import asyncio, ctypes, gc, logging, os, signal, sys, threading, edgeloop
signal.alarm(90)  # where a line does not come, its reader gets the end
logging.basicConfig(format="record: %(kind)s, %(phase)s, %(task)s, %(place)s", stream=sys.stderr)

async def main():
    while True:
        with edgeloop.watch(asyncio.get_running_loop(), 0.1):
            await asyncio.sleep(0.01)
            BODY
            await asyncio.sleep(0.01)
            print("record: none", file=sys.stderr)  # if it was answered before it blocked
            await asyncio.to_thread(os.read, 0, 1)

edgeloop.run(main())
"""

# read(2) by ctypes.PyDLL, which keeps the lock.
HOLD = "hold = ctypes.PyDLL(None).read; hold(0, ctypes.create_string_buffer(1), 1)"


def lines_until(stream: IO[str] | None, wanted: str, process: subprocess.Popen[str]) -> list[str]:
    """The lines up to one that has this text, and is no record unless that is wanted. Fails where it does not come."""
    assert stream is not None
    lines: list[str] = []
    while not lines or wanted not in lines[-1] or (lines[-1].startswith("record: ") and wanted != "record: "):
        line = stream.readline()
        assert line, f"{wanted!r} is not in {lines}; {process.poll()}"
        lines.append(line)
    return lines


def answer(process: subprocess.Popen[str], text: str = "x") -> None:
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


class Watched:
    """A child that blocks again and again, each time until it is answered. Each block has a watchdog of its own."""

    def __init__(self, process: subprocess.Popen[str], dump_line: str) -> None:
        self.process = process
        self.dump_line = dump_line

    def block(self) -> tuple[list[str], str]:
        """What is printed while the child blocks, and the first record of its watchdog."""
        printed = lines_until(self.process.stderr, self.dump_line, self.process)
        answer(self.process)
        record = lines_until(self.process.stderr, "record: ", self.process)[-1]
        answer(self.process)
        return printed, record

    def block_until(self, record: str) -> list[str]:
        """Repeat it until the record begins so.

        On a busy machine a block may be found before the lock is taken. Or the child gets no processor for so long that its
        stacks are printed before it blocks: then it is answered too early.
        """
        seen = []
        for _ in range(20):
            printed, found = self.block()
            if found.startswith(record):
                return printed
            seen.append(found)
        raise AssertionError(f"no record is {record!r}: {seen}")


@pytest.fixture
def child(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Start such a child: ``child(body, line)``."""
    with ExitStack() as stack:

        def start(body: str, dump_line: str) -> Watched:
            text = WATCHED.replace("BODY", body.strip().replace("\n", "\n    "))
            return Watched(stack.enter_context(program(text, environment(request.config, tmp_path))), dump_line)

        yield start


@needs_calls_with_the_lock
def test_the_stacks_are_printed_while_the_lock_is_held_and_the_record_follows(child: Any) -> None:
    printed = child(HOLD, " in main").block_until("record: native code, lock held, begun, ")
    assert "Thread 0x" in "".join(printed)
    if pulse.LOOKS_WITHOUT_LOCK:
        assert "edgeloop.watch: the event loop of thread " in "".join(printed)
        assert "the interpreter's lock is held (it sleeps, system call " in "".join(printed)
    else:
        assert "Timeout (" in "".join(printed)


@needs_calls_with_the_lock
def test_one_block_with_the_lock_after_the_other_is_printed(child: Any) -> None:
    # The pure edition's watchdog needs the lock to set its alarm again, and time for that on a busy machine.
    between = 0.001 if pulse.LOOKS_WITHOUT_LOCK else 0.5
    body = f"{HOLD}; await asyncio.sleep({between}); {HOLD}; await asyncio.sleep({between}); {HOLD}"
    watched = child(body, " in main")
    for _ in range(3):
        lines_until(watched.process.stderr, " in main", watched.process)
        answer(watched.process)


@needs_calls_with_the_lock
def test_a_lock_that_another_thread_holds_is_seen(child: Any) -> None:
    body = f"""
        def other():
            {HOLD}
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    """
    printed, _ = child(body, " in other").block()
    assert "Thread 0x" in "".join(printed)


@needs_calls_with_the_lock
def test_a_collection_that_holds_the_lock_is_told(child: Any) -> None:
    body = f"""
        class Cycle:
            def __del__(self):
                {HOLD}
        cycle = Cycle()
        cycle.itself = cycle
        del cycle
        gc.collect()
    """
    printed = child(body, " in main").block_until("record: garbage collection, begun, ")
    if pulse.LOOKS_WITHOUT_LOCK:
        assert "it collects garbage" in "".join(printed)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


IDLE = """
import asyncio, sys, edgeloop

async def main():
    loop = asyncio.get_running_loop()
    with edgeloop.watch(loop, 0.1, report=lambda report: print(report.phase, report.kind, flush=True)):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

edgeloop.run(main())
"""


def test_a_process_that_was_stopped_is_told_as_such(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with program(IDLE, environment(request.config, tmp_path)) as process:
        lines_until(process.stdout, "ready", process)
        reports: Any = process.stdout
        os.set_blocking(reports.fileno(), False)
        seen = b""
        for _ in range(60):  # on a busy machine it may wait for a processor for as long as it was stopped
            process.send_signal(signal.SIGSTOP)
            while state_of(process.pid) != "T":
                time.sleep(0.001)
            time.sleep(0.5)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.3)
            try:
                seen += os.read(reports.fileno(), 4096)
            except BlockingIOError:
                continue
            if b"stopped stopped" in seen:
                break
    assert b"stopped stopped" in seen.splitlines()
