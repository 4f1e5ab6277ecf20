"""Which thread may add and remove instruments: debug mode checks it, as it does for call_soon."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from recording import turn

pytestmark = pytest.mark.edgeloop_only


class Instrument:
    def before_callback(self, handle: object) -> None:
        """Nothing."""


def from_another_thread(loop: Any, call: Callable[[], object]) -> list[BaseException]:
    """Have a thread call it while the loop runs. Return what that raised."""
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            call()
        except BaseException as exc:
            raised.append(exc)

    def run() -> None:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()

    loop.call_soon(run)
    turn(loop)
    return raised


@pytest.mark.parametrize("method", ["add_instrument", "remove_instrument"])
def test_debug_mode_refuses_another_thread(loop: Any, method: str) -> None:
    instrument = Instrument()
    if method == "remove_instrument":
        loop.add_instrument(instrument)
    loop.set_debug(True)
    (raised,) = from_another_thread(loop, lambda: getattr(loop, method)(instrument))
    assert isinstance(raised, RuntimeError) and "Non-thread-safe operation" in str(raised)


def test_without_debug_mode_nobody_is_asked(loop: Any) -> None:
    instrument = Instrument()
    assert from_another_thread(loop, lambda: loop.add_instrument(instrument)) == []
    assert from_another_thread(loop, lambda: loop.remove_instrument(instrument)) == []
    with pytest.raises(KeyError):
        loop.remove_instrument(instrument)
