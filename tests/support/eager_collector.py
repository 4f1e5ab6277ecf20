"""Garbage is collected, and threads change places, at nearly every moment of a test."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def eager_collector(switch_interval: float | None = 1e-6) -> Iterator[None]:
    """A collection for nearly each new object. PyPy's collector takes no thresholds: it comes when it likes."""
    interval = sys.getswitchinterval()
    if switch_interval is not None:
        sys.setswitchinterval(switch_interval)
    thresholds = gc.get_threshold() if hasattr(gc, "get_threshold") else None
    if thresholds is not None:
        gc.set_threshold(1)
    try:
        yield
    finally:
        if thresholds is not None:
            gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)
