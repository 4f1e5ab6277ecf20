"""The rest of trio's guest-mode tests, those whose host is a queue written for them, hosted by an asyncio loop instead.

trio's file has one function that starts a guest on that queue. Here it is replaced by one that does the same on the default
loop of asyncio; everything else is as trio wrote it. The tests come from trio's wheel, which contains them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from outcome import Outcome
from trio._core._tests import test_guest_mode as trio_tests

pytestmark = pytest.mark.filterwarnings("error")  # as trio's own configuration has it

InHost = Callable[[Callable[[], object]], None]

# Its host has no wake-up descriptor, and sets one by itself for the time of a guest. A loop that claims the descriptor
# as edgeloop does can't be that host; what trio and edgeloop do with it is tested in edgeloop's
# tests/trio/test_trio_signals.py.
ABOUT_ITS_OWN_HOST = {"test_warn_set_wakeup_fd_overwrite"}


class Host:
    """A loop of asyncio that runs a guest, and stops at once when something in the host fails."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        assert type(self.loop).__module__.startswith(os.environ["EDGELOOP_COMPAT_LOOP"])
        self.loop.set_exception_handler(self.failed)
        self.thread = threading.current_thread()
        self.outcome: Outcome[Any] | None = None
        self.failure: BaseException | None = None

    def failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failure = context.get("exception", RuntimeError(context["message"]))
        loop.stop()

    def run_soon(self, function: Callable[[], object]) -> None:
        assert threading.current_thread() is self.thread
        self.loop.call_soon(function)

    def run_soon_threadsafe(self, function: Callable[[], object]) -> None:
        assert threading.current_thread() is not self.thread
        self.loop.call_soon_threadsafe(function)

    def done(self, outcome: Outcome[Any]) -> None:
        self.outcome = outcome
        self.loop.stop()


def hosted_guest_run(
    trio_fn: Callable[[InHost], Awaitable[Any]],
    *,
    in_host_after_start: Callable[[], None] | None = None,
    host_uses_signal_set_wakeup_fd: bool = True,
    **options: Any,
) -> Any:
    """As trio's ``trivial_guest_run``. The guest is started before the loop runs, like there."""
    host = Host()
    try:
        trio.lowlevel.start_guest_run(
            trio_fn,
            host.run_soon,
            run_sync_soon_threadsafe=host.run_soon_threadsafe,
            run_sync_soon_not_threadsafe=host.run_soon,
            done_callback=host.done,
            host_uses_signal_set_wakeup_fd=host_uses_signal_set_wakeup_fd,
            **options,
        )
        if in_host_after_start is not None:
            in_host_after_start()
        host.loop.run_forever()
        if host.failure is not None:
            raise host.failure
        assert host.outcome is not None
        return host.outcome.unwrap()
    finally:
        host.loop.close()
        del host  # a run that is abandoned warns when it is collected, so nothing here may keep it


trio_tests.trivial_guest_run = hosted_guest_run

for _name, _test in vars(trio_tests).items():
    if _name.startswith("test_") and _name not in ABOUT_ITS_OWN_HOST:
        if "trivial_guest_run" in getattr(_test, "__wrapped__", _test).__code__.co_names or _name == (
            "test_guest_warns_if_abandoned"  # it is an inner function of this one that starts the guest
        ):
            globals()[_name] = _test
