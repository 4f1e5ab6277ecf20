"""A pytest plugin: what collecting the tests has left on the heap is not looked through by each garbage collection.

aiohttp's fixtures collect after each test, so that what the test left behind warns at that test. That stays so; without
this most of the suite's time goes into looking at pytest's own five thousand items again.
"""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
