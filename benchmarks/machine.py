"""The machine that is measured on: which cores, how many descriptors, what it is called."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """One core for the server and another one for the load."""

    server: int
    load: int


def siblings(cpu: int) -> set[int]:
    """The hardware threads of this CPU's core, itself included (sysfs, cpu/cpuN/topology)."""
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return {cpu}
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def choose_cores() -> Cores:
    """Two cores that share no execution unit. Raises RuntimeError on a machine with only one."""
    allowed = sorted(os.sched_getaffinity(0))
    for cpu in allowed[1:]:
        if cpu not in siblings(allowed[0]):
            return Cores(server=allowed[0], load=cpu)
    raise RuntimeError("two cores are needed, one for the server and one for the load")


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """Processes started inside run on this CPU from their first instruction: they inherit our affinity."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_descriptor_limit(wanted: int) -> None:
    """Lets this process and its children open ``wanted`` descriptors each (getrlimit(2)).

    Raises RuntimeError if the hard limit is below that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"{wanted} descriptors are needed, the hard limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def memory(pid: int) -> dict[str, int]:
    """Bytes of memory of the process: ``rss`` and ``pss`` (proc(5), smaps_rollup)."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("Rss", "Pss"):
            sizes[name.lower()] = int(value.split()[0]) * 1024
    return sizes


def cpu_seconds(pid: int) -> float:
    """CPU time of the process, of all its threads. How the clock's number is made of a pid: see figures.h."""
    return time.clock_gettime(~pid << 3 | 2)


def commit(folder: Path) -> str:
    """Which commit the checkout is at, and whether anything differs from it; "no commit" outside of one."""
    git = ["git", "-C", str(folder)]
    found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if found.returncode:
        return "no commit"
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True).stdout.strip()
    return f"commit {found.stdout.strip()}{', with changes' if changed else ''}"


def description() -> str:
    """The processor, its count and the kernel, in one line."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
            break
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"
