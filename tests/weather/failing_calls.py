"""The preloaded library that makes system calls fail: building it, and its controls. What it does: failing_calls.c."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FILES = ("failing_calls.c", "failing_wrappers.c", "seeded_plan.c", "descriptors_known.c", "failing_allocations.c")
SOURCES = [str(Path(__file__).with_name(name)) for name in _FILES]
SHORT = 1000
ANSWERED = 2000  # and the errno that getsockopt(2) answers SO_ERROR with

#: What the kernel does in fair weather too: a program must not show a sign of it.
TRANSPARENT = frozenset((errno.EAGAIN, errno.EINTR, errno.EINPROGRESS, SHORT))


def build(folder: Path) -> Path:
    """The library, compiled. It is renamed into place, so that processes that build it at once do not meet."""
    library = folder / "failing_calls.so"
    descriptor, unfinished = tempfile.mkstemp(dir=folder, suffix=".so")
    os.close(descriptor)
    sanitized = "libasan" in Path("/proc/self/maps").read_text()
    options = ["-DSANITIZED"] if sanitized else []
    command = ["gcc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", *options, "-o", unfinished, *SOURCES, "-ldl"]
    subprocess.run(command, check=True)
    os.rename(unfinished, library)
    return library


def fault_name(fault: int) -> str:
    """EAGAIN, a short count, or what SO_ERROR was; "" for none."""
    if fault >= ANSWERED:
        return errno.errorcode[fault - ANSWERED]
    return "" if not fault else "short" if fault == SHORT else errno.errorcode[fault]


class FailingCalls:
    """The controls. RuntimeError in a process in which the library is not loaded."""

    def __init__(self) -> None:
        self._library = ctypes.PyDLL(None)
        try:
            self._library.weather_arm.argtypes = (ctypes.c_long, ctypes.c_int)
        except AttributeError:
            raise RuntimeError("failing_calls.so is not preloaded") from None
        self._library.weather_arm_at_random.argtypes = (ctypes.c_uint64, ctypes.c_int)
        for name in ("weather_disarm", "weather_count", "weather_failed_at_random"):
            getattr(self._library, name).restype = ctypes.c_long
        self._library.weather_faults.argtypes = self._library.weather_call.argtypes = (ctypes.c_long,)
        self._library.weather_call.restype = self._library.weather_fired_call.restype = ctypes.c_char_p

    def arm(self, number: int = 0, variant: int = 0) -> None:
        """Count this thread's calls from here on; the one of that number, from 1 on, fails in its ``variant``'s way."""
        self._library.weather_arm(number, variant)

    def arm_at_random(self, seed: int, permille: int) -> None:
        """Have so many of a thousand of this thread's calls answer what a program should not notice."""
        self._library.weather_arm_at_random(seed, permille)

    def disarm(self) -> int:
        """Let all calls through; how many there were."""
        return int(self._library.weather_disarm())

    def count(self) -> int:
        """How many calls there were since ``arm``."""
        return int(self._library.weather_count())

    def call(self, number: int) -> str:
        """The name of a call that was counted."""
        return bytes(self._library.weather_call(number - 1)).decode()

    def variants(self, number: int) -> int:
        """In how many ways that call can fail."""
        return int(self._library.weather_faults(number - 1))

    def fired(self) -> tuple[str, int]:
        """The call that failed, and its fault: an errno, SHORT, ANSWERED and an errno; 0 if none did."""
        fault = int(self._library.weather_fired())
        return (bytes(self._library.weather_fired_call()).decode() if fault else "", fault)

    def was_implausible(self) -> bool:
        """Whether the call was let through because its descriptor blocks, and can't answer EAGAIN."""
        return bool(self._library.weather_implausible())

    def failed_at_random(self) -> int:
        """How many calls have failed since ``arm_at_random``."""
        return int(self._library.weather_failed_at_random())

    @contextlib.contextmanager
    def calm(self) -> Iterator[None]:
        """What a scenario does itself neither counts nor fails: only the loop's calls are of interest."""
        self._library.weather_pause(1)
        try:
            yield
        finally:
            self._library.weather_pause(-1)
