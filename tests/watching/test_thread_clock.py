"""A thread that runs Python is never taken for one that runs native code without the interpreter's lock."""

from __future__ import annotations

import threading

import pytest
from interpreters import needs_sleep_without_the_lock

from edgeloop.kernel.thread_clock import cpu_seconds, runs_without_lock

pytestmark = pytest.mark.edgeloop_only


@needs_sleep_without_the_lock
def test_a_thread_that_runs_python_does_not_run_while_this_one_has_the_lock() -> None:
    done = False

    def compute() -> None:
        while not done:
            pass

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        assert thread.native_id is not None
        assert not [number for number in range(50) if runs_without_lock(thread.native_id)]
        assert cpu_seconds(thread.native_id) > 0
    finally:
        done = True
        thread.join()


def test_a_thread_that_is_not_there_or_unknown_runs_nothing() -> None:
    assert cpu_seconds(1 << 22) == 0.0  # above the highest number that Linux gives
    assert not runs_without_lock(1 << 22)
    assert not runs_without_lock(0)
