"""What the watchdog reports: a turn of the loop that lasts too long, with the stack of its thread and what that does."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import sys
import traceback
from dataclasses import dataclass, replace
from types import CodeType, FrameType
from typing import Any

from ..kernel import pulse as kernel
from ..kernel.system_calls import name_of
from ..kernel.thread_clock import runs_without_lock

PYTHON = "python"
SYSTEM_CALL = "system call"
NATIVE_LOCKED = "native code, lock held"
NATIVE_UNLOCKED = "native code, lock free"
LOCK = "interpreter's lock"
COLLECTION = "garbage collection"
NOT_SCHEDULED = "not scheduled"
STOPPED = "stopped"

_WORDS = {
    PYTHON: "it runs Python",
    SYSTEM_CALL: "it waits in a system call ({call})",
    NATIVE_LOCKED: "native code holds the interpreter's lock{within}",
    NATIVE_UNLOCKED: "it runs native code that has released the interpreter's lock",
    LOCK: "it waits for the interpreter's lock, which another thread holds",
    COLLECTION: "it collects garbage, {collected:.3f} s so far",
    NOT_SCHEDULED: "the kernel does not run it: {cpu:.3f} s on a processor, {delay:.3f} s waiting for one",
    STOPPED: "it is stopped",
}

BEGUN = "begun"
CONTINUES = "continues"
ENDED = "ended"
SUPPRESSED = "suppressed"
MIN_DELAY = 0.01  # seconds that are worth a word

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_INSIDE = tuple(
    os.path.join(_PACKAGE, *path) for path in (("core", ""), ("loop", "event_loop.py"), ("kernel", "interpreter.py"))
)
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_PACKAGES_OF_OTHERS = ("site-packages", "dist-packages")
_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_GENERATOR | inspect.CO_ITERABLE_COROUTINE


@dataclass(frozen=True)
class Report:
    """One report of a watchdog. ``str(report)`` is the message of its log record, each other attribute is in its ``extra``."""

    phase: str
    """"begun": the turn has lasted the threshold; "continues": ten times that; "ended". "stopped": the process did not run.
    "suppressed": reports about this place that were left out, and no other followed within a minute."""
    seconds: float
    """How long the turn has lasted so far, at its end in total. For "stopped": for how long at least."""
    kind: str
    """What the loop's thread does: "python", "system call", "native code, lock held", "native code, lock free",
    "interpreter's lock", "garbage collection", "not scheduled" or "stopped"."""
    place: str
    """The innermost frame that isn't the standard library's: ``file:line in function``. "" if there is none."""
    task: str | None
    """The name of the task that runs; None if it is a plain callback or unknown."""
    coroutines: tuple[str, ...]
    """The coroutines of that task that are being run, the outermost first."""
    stack: str
    """The stack of the loop's thread as in a traceback, without the frames of the loop. The most recent call is last."""
    system_call: str | None
    """The name of the system call that the thread is in, None if it is in none or the kernel doesn't say."""
    cpu_seconds: float
    """For how long the thread was on a processor since it was first seen in this turn."""
    delay_seconds: float
    """For how long it waited for a processor in that time."""
    steal_seconds: float
    """For how long a hypervisor kept the machine's processors from it, since the first report that said "not scheduled"."""
    gc_seconds: float
    """How long garbage collections in this turn took."""
    suppressed: int
    """How many reports about this place were left out before this one."""
    native_thread: int
    """The kernel's number of the loop's thread, 0 if it is unknown."""

    def __str__(self) -> str:
        if self.phase == STOPPED:
            return f"the process was stopped for at least {self.seconds:.3f} s: SIGSTOP, a debugger or a frozen cgroup"
        if self.phase == SUPPRESSED:
            return f"{self.suppressed} more reports about {self.place} were left out"
        lines = [f"the event loop has been blocked for {self.seconds:.3f} s"]
        if self.phase == ENDED:
            lines[0] = f"the event loop was blocked for {self.seconds:.3f} s, until now"
        if self.task is not None:
            lines[0] += f", in task {self.task!r}"
        if self.coroutines:
            lines[0] += f" ({' > '.join(self.coroutines)})"
        if self.phase == ENDED:
            if self.place:
                lines[0] += f", at {self.place}"
            lines[0] += f"; {self.cpu_seconds:.3f} s of it on a processor"
            if self.gc_seconds:
                lines[0] += f", {self.gc_seconds:.3f} s collecting garbage"
            if self.delay_seconds >= MIN_DELAY:
                lines[0] += f", {self.delay_seconds:.3f} s waiting for one"
            if self.steal_seconds:
                lines[0] += f", {self.steal_seconds:.3f} s stolen by the hypervisor"
        else:
            lines[0] += f": {self.activity}"
            lines.append(self.stack.rstrip("\n"))
        if self.suppressed:
            lines[0] += f" [{self.suppressed} reports about this place were left out before]"
        return "\n".join(line for line in lines if line)

    @property
    def activity(self) -> str:
        """``kind`` in a sentence."""
        within = f", within a system call ({self.system_call})" if self.system_call else ""
        return _WORDS[self.kind].format(
            call=self.system_call,
            within=within,
            collected=self.gc_seconds,
            cpu=self.cpu_seconds,
            delay=self.delay_seconds,
        )

    def fields(self) -> dict[str, Any]:
        """Return the ``extra`` of the log record."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def look(loop: asyncio.AbstractEventLoop | None, pulse: kernel.Pulse, phase: str) -> Report:
    """Return the report of a turn that was found late, from what ``next_report`` has left in ``pulse``."""
    since = pulse.late_since
    collected = pulse.collected_in(since) + pulse.collecting
    kind = _kind(pulse, collected)
    # If the turn is over by now, the frames and the task are those of another one.
    frames = _frames(pulse.thread) if pulse.in_turn(since) else []
    text = kernel.read_dump() if pulse.printed else ""
    stack = _stack_of_dump(text, pulse.thread) if text else None
    if not stack:
        stack = traceback.StackSummary.extract(((frame, frame.f_lineno) for frame in frames), capture_locals=False)
    coroutines = tuple(_qualname(frame.f_code) for frame in frames if frame.f_code.co_flags & _COROUTINE)
    task = _task(loop) if pulse.in_turn(since) else None
    return Report(
        phase=phase,
        seconds=pulse.now() - since,
        kind=kind,
        place=_place(stack),
        task=task,
        coroutines=coroutines,
        stack="".join(stack.format()),
        system_call=name_of(pulse.system_call)
        if pulse.system_call >= 0 and kind in (SYSTEM_CALL, NATIVE_LOCKED)
        else None,
        cpu_seconds=pulse.cpu,
        delay_seconds=pulse.delay,
        steal_seconds=0.0,
        gc_seconds=collected,
        suppressed=0,
        native_thread=pulse.tid,
    )


def without(report: Report, stopped: float) -> Report:
    """Return the report without the seconds in which the process was stopped."""
    return replace(report, seconds=report.seconds - stopped) if stopped else report


def ended(begun: Report, pulse: kernel.Pulse, turn: float, stopped: float, stolen: float) -> Report:
    """Return the report of the end of a turn, from an earlier one."""
    return replace(
        begun,
        phase=ENDED,
        seconds=pulse.ended_at - turn - stopped,
        cpu_seconds=pulse.cpu,
        delay_seconds=pulse.delay,
        steal_seconds=max(steal() - stolen, 0.0) if stolen else 0.0,
        gc_seconds=max(pulse.collected_in(turn), begun.gc_seconds),
    )


def of_stop(pulse: kernel.Pulse) -> Report:
    """Return the report of a process that did not run."""
    return Report(STOPPED, pulse.stopped, STOPPED, "", None, (), "", None, 0.0, 0.0, 0.0, 0.0, 0, pulse.tid)


def of_suppressed(place: str, count: int) -> Report:
    """Return the report that so many were left out."""
    return Report(SUPPRESSED, 0.0, "", place, None, (), "", None, 0.0, 0.0, 0.0, 0.0, count, 0)


def with_suppressed(report: Report, count: int) -> Report:
    """Return the report with the number of those that were left out before it."""
    return replace(report, suppressed=count) if count else report


def steal() -> float:
    """Return for how many seconds a hypervisor has kept the processors of this machine, proc_stat(5). 0.0 if unknown."""
    try:
        with open("/proc/stat", "rb") as file:
            return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def key_of(report: Report) -> str:
    """Return what reports about one place have in common: its file and function."""
    return re.sub(r":\d+ in ", " in ", report.place)


def _kind(pulse: kernel.Pulse, collected: float) -> str:
    waited = pulse.lock_wait
    slept = pulse.cpu < pulse.wall / 4
    in_futex = pulse.system_call >= 0 and name_of(pulse.system_call) == "futex"
    if pulse.collecting or (collected and collected >= waited / 2 > 0) or collected > pulse.wall / 2 > 0:
        return COLLECTION
    starves = slept and pulse.wall > pulse.cpu and pulse.state == "R"
    if starves and (kernel.LOOKS_WITHOUT_LOCK or pulse.delay > max(pulse.wall / 2, waited)):
        # Before the lock: a thread that gets no processor gives no lock away, and how long it waits for one the kernel counts
        # when it gets one. In the pure edition the state is that of when this thread has got the lock.
        return NOT_SCHEDULED
    if pulse.printed or waited >= 4 * sys.getswitchinterval():
        return LOCK if in_futex and slept and pulse.state == "S" else NATIVE_LOCKED
    if pulse.state in ("T", "t"):
        return STOPPED
    if pulse.state in ("S", "D") and pulse.system_call >= 0 and (slept or not in_futex):
        return SYSTEM_CALL
    if starves:
        return NOT_SCHEDULED
    # Who runs Python gives the lock away a switch interval after it was asked for, and waits now that this thread has it.
    # Where a thread had to wait for a processor the first can't be measured.
    ran = pulse.cpu > pulse.wall * 3 / 4
    if kernel.LOOKS_WITHOUT_LOCK and pulse.state == "R" and ran and waited < sys.getswitchinterval() / 4:
        return NATIVE_UNLOCKED if runs_without_lock(pulse.tid) else PYTHON
    return PYTHON


def _frames(thread: int) -> list[FrameType]:
    """Return the frames of a thread, the outermost first, without the loop's and its callers'."""
    frame = sys._current_frames().get(thread)
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    return frames[_begin([frame.f_code.co_filename for frame in frames]) :]


def _begin(files: list[str]) -> int:
    """Return the index of the first file after the loop's, 0 if nothing comes after those."""
    begin = 1 + max((index for index, file in enumerate(files) if file.startswith(_INSIDE)), default=-1)
    return begin if begin < len(files) else 0


def _stack_of_dump(text: str, thread: int) -> traceback.StackSummary | None:
    """Return the frames of a thread from what faulthandler has printed, None if they aren't there."""
    for section in re.split(r"^(?=(?:Current thread|Thread) 0x)", text, flags=re.MULTILINE):
        found = re.match(r"(?:Current thread|Thread) 0x([0-9a-f]+)", section)
        if found is None or int(found[1], 16) != thread:
            continue
        frames = [
            (file, int(line) if line.isdigit() else 0, name)
            for file, line, name in re.findall(r'^  File "(.*)", line (\S+) in (.*)$', section, re.MULTILINE)
        ]
        frames.reverse()
        begin = _begin([file for file, _, _ in frames])
        summaries = (traceback.FrameSummary(file, line, name) for file, line, name in frames[begin:])
        return traceback.StackSummary.from_list(list(summaries))
    return None


def _qualname(code: CodeType) -> str:
    return code.co_qualname


def _place(stack: traceback.StackSummary) -> str:
    if not stack:
        return ""
    chosen = stack[-1]
    for frame in reversed(stack):
        file = frame.filename
        if not file.startswith("<frozen") and (
            not file.startswith(_LIBRARY) or any(f"{os.sep}{name}{os.sep}" in file for name in _PACKAGES_OF_OTHERS)
        ):
            chosen = frame
            break
    return f"{chosen.filename}:{chosen.lineno} in {chosen.name}"


def _task(loop: asyncio.AbstractEventLoop | None) -> str | None:
    if loop is None:
        return None
    task: Any = asyncio.current_task(loop)
    try:
        name = getattr(task, "get_name", None)
        return str(name()) if name is not None else None
    except Exception:  # of a class of the program's
        return type(task).__name__
