"""What runs in the cluster's processes: functions they are sent by name, so each finds them here."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path


def loop_class() -> str:
    """Module and name of the class of the loop that runs here."""
    cls = type(asyncio.get_running_loop())
    return f"{cls.__module__}.{cls.__qualname__}"


def is_expected(cls: str) -> bool:
    """Whether this is the class of the loop that is tested."""
    return cls.startswith(os.environ["EDGELOOP_COMPAT_LOOP"] + ".")


async def in_scheduler(dask_scheduler: object) -> str:
    return loop_class()


async def in_worker() -> str:
    return loop_class()


def square(number: int) -> int:
    return number * number


def total(numbers: list[int]) -> int:
    return sum(numbers)


def slow_square(number: int) -> int:
    time.sleep(0.05)
    return number * number


def block(seed: int, size: int) -> bytes:
    """``size`` bytes that are different for each seed and don't compress."""
    return hashlib.shake_256(str(seed).encode()).digest(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_of_all(parts: list[bytes]) -> str:
    return digest(b"".join(parts))


def pid_then_wait_for(gate: str) -> int:
    """Say who runs this, in a file named after it, and wait for the gate to be there."""
    Path(f"{gate}.{os.getpid()}").touch()
    while not Path(gate).exists():
        time.sleep(0.01)
    return os.getpid()


class Counter:
    """An actor: its state lives in one worker."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, number: int) -> int:
        self.count += number
        return self.count
