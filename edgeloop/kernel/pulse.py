"""What a loop's thread publishes for its watchdog, and the watchdog's sleep. ``pulse.pyx`` is the compiled edition.

The loop writes ``busy_since`` each turn: 0.0 before it waits, the time after that. So the watchdog needs no signal that a
turn has begun. It sleeps until the turn that it has seen would have lasted too long, and looks again.

- The loop's thread calls ``begin_run``, ``end_run`` and ``end_turn`` and writes ``busy_since``.
- One other thread, the watchdog's, calls ``next_report``. What that has found is in the attributes until the next call.
- Any thread calls ``collection_began``, ``collection_ended``, ``start``, ``close``.
- Compiled, ``next_report`` sleeps and looks without the GIL. If it is not given the GIL within GRACE seconds, the stacks of
  all threads are printed on descriptor 2 by a thread that needs no GIL. Here faulthandler.dump_traceback_later does that:
  it can be used by one caller in a process, and so a program that is watched in this edition can't use it.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any

from . import ticks

try:
    import faulthandler
except ImportError:  # pragma: no cover
    faulthandler = None  # type: ignore[assignment]

# What ``next_report`` returns.
CLOSED = 0  # ``close`` was called
LATE = 1  # a turn has lasted too long: ``late_since``
ENDED = 2  # the turn ``known`` is over: ``ended_at``
STOPPED = 3  # the process did not run for at least ``stopped`` seconds
NOTHING = 4  # ``until`` has come

UNTIMED = 1.0  # busy_since of a turn that began while nobody watched
GRACE = 0.5  # seconds for which the GIL may be held before the stacks are printed
LONG_START = 0.5  # seconds: longer than faulthandler takes to start its thread, also on a busy machine
NO_CALL = -1  # system_call: it is in none
LOOKS_WITHOUT_LOCK = False  # ``state`` is that of a thread which doesn't wait for the watchdog's GIL
UNKNOWN = -2  # system_call: the kernel doesn't say

_OF_THREAD = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # PyPy leaves it out
_arming = threading.Lock()  # held while faulthandler is called, and during a fork
_armed = False  # faulthandler will print, unless it is armed again or disarmed


class Watch:
    """One watch of a Pulse, from ``start`` on. Its thread calls ``end`` last."""

    def __init__(self) -> None:
        self.number = 0

    def lend_thread(self) -> None:
        """The thread that calls ``next_report`` does something of the program's: for how long, nobody knows."""
        _disarm()

    def end(self) -> None:
        """The thread that has called ``next_report`` ends."""
        _disarm()


class Pulse:
    """Since when the thread of one loop is busy, and what the kernel says about that thread.

    The Reactor owns it; the watchdog's thread keeps it alive. ``close`` ends the watch; ``start`` begins another one.
    """

    def __init__(self) -> None:
        self._by_counter = ticks.may_use_counter()
        self.tick = ticks.scale(self._by_counter)[2] * 1e-9  # seconds of a tick of ticks.py
        self.watched = False  # somebody calls next_report
        self.reported = False  # the loop calls end_turn. Compiled: only after a turn that was found late
        self.busy_since = 0.0  # of now(): when the last wait ended; 0.0 while the loop waits or does not run
        self.ended_at = 0.0  # when the late turn ended
        self.threshold = 0.1  # seconds
        self.watched_since = 0.0
        self.tid = 0  # the kernel's number of the loop's thread, 0 if it is unknown
        self.thread = 0  # threading.get_ident() of that thread, 0 while the loop does not run
        self.watchdog: Any = None  # whose thread calls next_report
        self.closed = True
        # What next_report has found.
        self.late_since = 0.0
        self.stopped = 0.0
        self.lock_wait = 0.0  # how long it has waited for the GIL after it looked
        self.printed = False  # the stacks were printed
        self.state = "?"  # proc_pid_stat(5): R, S, D, T, t
        self.system_call = UNKNOWN
        self.cpu = 0.0  # seconds that the loop's thread has run
        self.delay = 0.0  # seconds that it waited for a processor
        self.wall = 0.0  # in these seconds
        self.collecting = 0.0  # seconds of the garbage collection under way
        self.collected = 0.0  # seconds of collections in the turn
        self._collecting_since = 0.0
        self._collected_in = 0.0
        self._resumed_at = 0.0
        self._base_since = -1.0
        self._base_at = 0.0
        self._base_cpu = 0.0
        self._base_delay = 0.0
        self._number = 0  # of the watch
        self._missed = 0.0  # a turn that was too long and ended before next_report could look
        self._sleeper: SimpleQueue[None] = SimpleQueue()

    def now(self) -> float:
        """Return the time, by the clock of ``busy_since``: ticks of ticks.py, in seconds."""
        return ticks.read(self._by_counter) * self.tick

    def start(self, threshold: float) -> Watch:
        """Begin to publish. Return what ``next_report`` is called with. A watch that was begun before ends."""
        watch = Watch()
        self.threshold = threshold
        self.watched_since = self.now()
        self.closed = False
        self._number += 1
        self.watched = self.reported = True
        self._sleeper.put(None)  # for the thread of a watch before
        watch.number = self._number
        return watch

    def close(self) -> None:
        """End ``next_report``, now and for good."""
        self.closed = True
        self.watched = self.reported = False
        self._sleeper.put(None)

    def abandon(self) -> None:
        """Do what ``close`` does, in the child of a fork, where the watchdog's thread does not exist."""
        self._sleeper = SimpleQueue()
        self.closed = True
        self.watched = self.reported = False
        self.watchdog = None

    def begin_run(self) -> None:
        """The calling thread runs the loop from now on."""
        self.thread = threading.get_ident()
        self.tid = threading.get_native_id()
        self.busy_since = self.now()

    def end_run(self) -> None:
        """No thread runs the loop any more."""
        if self.reported:
            self.end_turn()
        self.busy_since = 0.0
        self.thread = 0
        self.tid = 0

    def end_turn(self) -> None:
        """The turn is over. The watchdog wakes up if it was too long."""
        now = self.now()
        since = self.watched_since if self.busy_since == UNTIMED else self.busy_since
        if since and now - since >= self.threshold:
            self._missed = since
            self.ended_at = now
            self._sleeper.put(None)

    def collection_began(self) -> None:
        """The loop's thread begins to collect garbage."""
        self._collecting_since = self.now()

    def collection_ended(self) -> None:
        """The collection is over."""
        now = self.now()
        since = self._collecting_since
        self._collecting_since = 0.0
        if self._collected_in != self.busy_since:
            self._collected_in = self.busy_since
            self.collected = 0.0
        if since:
            self.collected += now - since

    def in_turn(self, turn: float) -> bool:
        """Return True if the loop is still in this turn."""
        return self.busy_since == turn or (self.busy_since == UNTIMED and self.watched_since == turn)

    def collected_in(self, turn: float) -> float:
        """Return the seconds of collections in this turn."""
        return self.collected if self._collected_in == turn else 0.0

    def next_report(self, watch: Watch, known: float, limit: float, until: float) -> int:
        """Sleep until there is something to report. CLOSED, LATE, ENDED, STOPPED or NOTHING.

        ``known`` is the turn that was reported and has not ended, 0.0 for none. LATE comes when it has lasted ``limit``
        seconds, or another turn the threshold.
        """
        self.printed = False
        self.lock_wait = 0.0
        return self._sleep(watch.number, known, limit, until)

    def _sleep(self, number: int, known: float, limit: float, until: float) -> int:
        while True:
            now = self.now()
            if self.closed or number != self._number:
                return CLOSED
            since = self.busy_since
            if since == UNTIMED:
                since = self.watched_since
            due = now + self.threshold
            missed, self._missed = self._missed, 0.0
            if missed and missed != known:
                self._missed = missed if known else 0.0  # the known one has ended before
                if not known:
                    self.late_since = missed
                    self._sample(now)
                    self.state, self.system_call = "?", UNKNOWN  # of the next turn
                    return LATE
            if known:
                if since != known:
                    if self.ended_at < known:
                        self.ended_at = now
                    self._sample(now)
                    return ENDED
                due = known + limit
            elif since:
                due = since + self.threshold
            if since:
                due = max(due, self._resumed_at + self.threshold)
                if due <= now:
                    self.late_since = since
                    self._sample(now)
                    return LATE
            if now >= until:
                return NOTHING
            if since != self._base_since:
                self._base_since = since
                self._base_at = now
                self._base_cpu, self._base_delay = _times(self.tid)
            next_look = min(due, until, now + max(self.threshold / 2, 0.001))
            noted = self.now()
            switches, delay = _own_times()
            loops_delay = _times(self.tid)[1]
            if self.thread:
                _arm(next_look - now + GRACE)
            began = self.now()  # on a busy machine it takes long to come here: no part of being late
            if began - noted > LONG_START and self._was_stopped(began - noted, switches, delay):
                self._resume(began - noted, began)
                return STOPPED
            try:
                self._sleeper.get(timeout=max(next_look - began, 0.0))
            except Empty:
                pass
            woke = self.now()
            late = woke - max(next_look, began)
            if late <= min(max(self.threshold / 2, 0.1), 0.5):
                continue
            switches_now, delay_now = _own_times()
            # A thread that waits for the GIL wakes up each switch interval to ask for it.
            waited = (switches_now - switches) * sys.getswitchinterval()
            starved = delay_now - delay
            if waited > late / 4:
                # A thread that gets no processor gives no lock away, and takes none.
                self.lock_wait = late - starved - (_times(self.tid)[1] - loops_delay)
                self.printed = late >= GRACE
            elif waited + starved < late / 4:
                self._resume(late, woke)
                return STOPPED

    def _was_stopped(self, seconds: float, switches: int, delay: float) -> bool:
        # Return True if this thread did not run for so long, and has waited neither for the GIL nor for a processor.
        switches_now, delay_now = _own_times()
        return (switches_now - switches) * sys.getswitchinterval() + delay_now - delay < seconds / 4

    def _resume(self, stopped: float, now: float) -> None:
        self.stopped = stopped
        self._resumed_at = now
        self._base_since = -1.0
        self._missed = 0.0

    def _sample(self, now: float) -> None:
        self.state, self.system_call = _state(self.tid)
        cpu, delay = _times(self.tid)
        self.cpu = cpu - self._base_cpu
        self.delay = delay - self._base_delay
        self.wall = now - self._base_at
        self.collecting = now - self._collecting_since if self._collecting_since else 0.0


def _arm(seconds: float) -> None:
    global _armed
    with _arming:
        _armed = True
        if hasattr(faulthandler, "dump_traceback_later"):
            faulthandler.dump_traceback_later(seconds, file=2)


def _disarm() -> None:
    global _armed
    with _arming:
        if _armed:
            _armed = False
            if hasattr(faulthandler, "dump_traceback_later"):
                faulthandler.cancel_dump_traceback_later()


def _before_fork() -> None:
    # In the child faulthandler would wait for its thread, which is the parent's alone.
    _arming.acquire()
    if _armed and hasattr(faulthandler, "dump_traceback_later"):
        faulthandler.cancel_dump_traceback_later()


os.register_at_fork(
    before=_before_fork, after_in_parent=lambda: _arming.release(), after_in_child=lambda: _arming.release()
)


def open_dump() -> None:
    """Make the stacks printable without the GIL. Here faulthandler prints them itself."""


def close_dump() -> None:
    """Undo ``open_dump``. No thread may be in ``next_report``."""


def read_dump() -> str:
    """Return what was printed last, "" if that is unknown, as here."""
    return ""


def _read(tid: int | str, name: str) -> str:
    try:
        fd = os.open(f"/proc/self/task/{tid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 1024).decode("ascii", "replace")
    except OSError:  # ESRCH: the thread has ended
        return ""
    finally:
        os.close(fd)


def _times(tid: int) -> tuple[float, float]:
    # Seconds on a processor, and waiting for one.
    words = _read(tid, "schedstat").split() if tid else []
    delay = int(words[1]) * 1e-9 if len(words) > 1 else 0.0
    try:
        # clock_getcpuclockid(3) for a thread: the complement of its number, and CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED.
        cpu = time.clock_gettime(~tid << 3 | 6) if tid else 0.0
    except OSError:
        cpu = 0.0
    return cpu, delay


def _own_times() -> tuple[int, float]:
    # How often this thread has slept, and how long it has waited for a processor.
    words = _read(threading.get_native_id(), "schedstat").split()
    return resource.getrusage(_OF_THREAD).ru_nvcsw, int(words[1]) * 1e-9 if len(words) > 1 else 0.0


def _state(tid: int) -> tuple[str, int]:
    if not tid:
        return "?", UNKNOWN
    state = _read(tid, "stat").rpartition(") ")[2][:1] or "?"
    word = _read(tid, "syscall").partition(" ")[0].strip()
    if not word:
        return state, UNKNOWN
    return state, NO_CALL if word == "running" else int(word)
