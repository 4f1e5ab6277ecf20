"""Whether another thread runs while this one has the GIL, by that thread's CPU clock. Plain Python in both editions."""

from __future__ import annotations

import sys
import time

ENOUGH_SECONDS = 0.0003  # on a processor: a thread that has to wait for the GIL takes microseconds to find out
MAX_SECONDS = 0.002


def cpu_seconds(tid: int) -> float:
    """Return for how long a thread of this process has been on a processor, 0.0 if it has ended; without releasing the GIL."""
    try:
        # clock_getcpuclockid(3) for a thread: the complement of its number, and CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED.
        return time.clock_gettime(~tid << 3 | 6)
    except OSError:
        return 0.0


def runs_without_lock(tid: int) -> bool:
    """Return True if a thread has run native code in the last two milliseconds while the caller had the GIL.

    False also if it got no processor, or if the caller may have lost the GIL meanwhile: only that takes a switch interval.
    """
    if not tid:
        return False  # unknown; 0 would be this thread
    began = time.perf_counter()
    before = cpu_seconds(tid)
    while True:
        ran = cpu_seconds(tid) - before
        elapsed = time.perf_counter() - began
        if elapsed >= sys.getswitchinterval() * 0.8:
            return False
        if ran >= ENOUGH_SECONDS:
            return True
        if elapsed >= MAX_SECONDS:
            return False
