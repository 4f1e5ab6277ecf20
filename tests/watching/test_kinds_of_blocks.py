"""What the watchdog calls a block, from what the kernel and the clocks have said of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgeloop.kernel import pulse
from edgeloop.watching import report

pytestmark = pytest.mark.edgeloop_only


@dataclasses.dataclass
class Found:
    """What ``Pulse.next_report`` leaves behind, of a thread that slept in no call for a second."""

    state: str
    cpu: float
    delay: float
    lock_wait: float = 0.0
    system_call: int = pulse.NO_CALL
    printed: bool = False
    collecting: float = 0.0
    wall: float = 1.0
    tid: int = 0  # unknown: no thread of this process is looked at


CALL = 0  # read(2), on most machines


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (Found("R", cpu=0.9, delay=0.1), report.PYTHON),
        (Found("R", cpu=0.9, delay=0.1, lock_wait=0.5), report.NATIVE_LOCKED),
        (Found("R", cpu=0.9, delay=0.1, printed=True), report.NATIVE_LOCKED),
        (Found("S", cpu=0.0, delay=0.0, lock_wait=0.5, system_call=CALL), report.NATIVE_LOCKED),
        (Found("S", cpu=0.0, delay=0.0, system_call=CALL), report.SYSTEM_CALL),
        (Found("R", cpu=0.1, delay=0.9), report.NOT_SCHEDULED),
        (Found("R", cpu=0.1, delay=0.6, lock_wait=0.3), report.NOT_SCHEDULED),
        (Found("R", cpu=0.1, delay=0.6, lock_wait=0.3, printed=True), report.NOT_SCHEDULED),
        (Found("T", cpu=0.0, delay=0.0), report.STOPPED),
        (Found("R", cpu=0.9, delay=0.1, collecting=0.4), report.COLLECTION),
    ],
)
def test_a_block_is_called_what_the_kernel_says_it_is(found: Any, kind: str) -> None:
    assert report._kind(found, found.collecting) == kind


@pytest.mark.skipif(pulse.LOOKS_WITHOUT_LOCK, reason="the compiled edition looks before it asks for the lock")
def test_a_thread_that_runs_when_the_lock_is_free_again_may_have_slept_with_it() -> None:
    found: Any = Found("R", cpu=0.0, delay=0.05, lock_wait=0.9)
    assert report._kind(found, 0.0) == report.NATIVE_LOCKED
