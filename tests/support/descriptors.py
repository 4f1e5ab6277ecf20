"""What this process has open."""

from __future__ import annotations

import os


def open_descriptors() -> dict[int, str]:
    """This process's descriptors and what each one is, from /proc/self/fd."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor that listdir itself had open
            continue
    return found
