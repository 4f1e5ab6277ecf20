"""What the kernel knows, for tests that don't take our word: the epoll set from /proc, system calls from strace."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pty
import re
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import pytest

P = ParamSpec("P")

IN, OUT, ERR, HUP, RDHUP, EDGE = 0x1, 0x4, 0x8, 0x10, 0x2000, 0x80000000

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed here")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed here")

#: A sanitizer replaces malloc(3): the C library has no figures of it, and the kernel is asked for memory at other moments.
needs_own_allocator = pytest.mark.skipif(
    "libasan" in Path("/proc/self/maps").read_text(), reason="a sanitizer has an allocator of its own"
)


def open_terminal() -> tuple[int, int]:
    """A pseudo-terminal, its controlling side first; skips the test where there is none, as in a bare chroot."""
    try:
        return pty.openpty()
    except OSError as exc:
        pytest.skip(f"no pseudo-terminal to be had here: {exc}")


def epoll_set(loop: asyncio.AbstractEventLoop) -> dict[int, int]:
    """The descriptors in the loop's epoll set with their event masks, proc(5): /proc/self/fdinfo."""
    fileno: Any = loop.reactor.fileno()  # type: ignore[attr-defined]
    text = Path(f"/proc/self/fdinfo/{fileno}").read_text()
    return {int(fd): int(mask, 16) for fd, mask in re.findall(r"tfd:\s*(\d+) events:\s*([0-9a-f]+)", text)}


def system_calls(script: str, *arguments: str, directory: Path) -> Counter[str]:
    """How often the loop's thread of a Python program made each system call, counted by strace."""
    program = directory / "traced.py"
    program.write_text(textwrap.dedent(script))
    log = directory / "strace.log"
    done = subprocess.run(
        ["strace", "-o", str(log), sys.executable, str(program), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Counter(re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE))


def traced_lines(script: str, call: str, directory: Path) -> list[str]:
    """Each ``call`` a Python program made, as strace prints it."""
    system_calls(script, directory=directory)
    return [line for line in (directory / "strace.log").read_text().splitlines() if line.startswith(call + "(")]


def measured(test: Callable[P, None]) -> Callable[P, None]:
    """A test that counts what a program did, up to five times: what is held up by other work gathers less (rule 5)."""

    @functools.wraps(test)
    def up_to_five_times(*args: P.args, **kwargs: P.kwargs) -> None:
        for _ in range(4):
            with contextlib.suppress(AssertionError):
                return test(*args, **kwargs)
        return test(*args, **kwargs)

    return up_to_five_times
