"""What blocks in the turn that a wait has ended, after real sleep."""

from __future__ import annotations

import asyncio
import threading

import pytest
from watched_loops import Reports

import edgeloop

pytestmark = pytest.mark.edgeloop_only


def test_what_blocks_when_the_loop_has_just_woken_is_reported(loop: asyncio.AbstractEventLoop) -> None:
    reported = threading.Event()
    found = loop.create_future()
    with edgeloop.watch(loop, 0.02, report=Reports(reported.set)):
        loop.call_later(0.05, lambda: found.set_result(reported.wait(30)))
        assert loop.run_until_complete(found)
