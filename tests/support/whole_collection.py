"""A collection after which nothing is left that nothing refers to."""

from __future__ import annotations

import gc


def collect_all() -> None:
    """Collect until the finalizers of a chain have run: PyPy calls one of them at each collection."""
    for _ in range(3):
        gc.collect()
