"""What some interpreters lack, as marks of the tests that need it."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import sys

import pytest

needs_waitid = pytest.mark.skipif(not hasattr(os, "waitid"), reason="this Python's os module has no waitid")

needs_calls_with_the_lock = pytest.mark.skipif(
    not hasattr(ctypes, "PyDLL"), reason="this Python's ctypes has no PyDLL, and so no call that keeps the lock"
)

#: Where asyncio's tasks are Python code, their frames stand in each stack, and a step can be seen half begun.
needs_tasks_in_c = pytest.mark.skipif(
    asyncio.Task.__module__ != "_asyncio", reason="this Python's asyncio tasks are Python code, and seen in stacks"
)

needs_subinterpreters = pytest.mark.skipif(
    not any(map(importlib.util.find_spec, ("_interpreters", "_xxsubinterpreters"))),
    reason="this Python has no module of interpreters",
)

needs_sleep_without_the_lock = pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="PyPy's threads poll for the lock: they run without it"
)
