"""The loop's objects are used while they change: by destructors, comparisons, buffers, the collector, other threads."""

from __future__ import annotations

import sys

import mischief
import pytest
from kernel_truth import needs_gcc
from reentry import SCENARIOS
from weather_runs import FIRST, WHOLE, fail_with, lines_of

# asyncio's buffers and registrations do not survive all of it: ``reentry.py --loop asyncio SCENARIO`` says what.
pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather, needs_gcc]

#: Seeds that have found something, and are kept.
KEPT = (1, 2, 3)
RUNS = 200 if WHOLE else 3


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_mischief_at_any_moment_does_no_harm(scenario: str) -> None:
    runs = lines_of("reentry.py", "--seed", str(KEPT[0]), "--runs", str(len(KEPT)), scenario)
    runs += lines_of("reentry.py", "--seed", str(FIRST * 1000), "--runs", str(RUNS), scenario)
    assert sum(run.get("acts", 0) for run in runs) > 100 or any(run["wrong"] for run in runs)
    fail_with(f"reentry of {scenario}", runs)


@pytest.mark.parametrize(
    ("kind", "moments"),
    [
        (
            mischief.Trap,
            ("__del__", "__eq__", "__repr__", "__len__"),
        ),  # arguments, callbacks, protocols, values of contexts
        (mischief.TrapError, ("__del__", "__eq__", "__repr__", "__str__")),
        (mischief.Address, ("__del__", "__eq__", "__repr__", "__len__")),
        (mischief.Buffer, ("__del__", "__eq__", "__repr__", "__len__", "__buffer__")),
    ],
)
def test_each_kind_of_object_acts_at_each_moment(kind: type, moments: tuple[str, ...]) -> None:
    late = () if sys.version_info >= (3, 12) else ("__buffer__",)  # PEP 688
    assert [name for name in moments if name not in vars(kind) and name not in late] == []


def test_the_scenarios_notice_a_callback_that_runs_twice() -> None:
    """On a loop that is broken: or the silence about the others would say nothing."""
    runs = lines_of("reentry.py", "--loop", "broken", "--runs", "6", "callbacks")
    assert any("ran twice" in wrong for run in runs for wrong in run["wrong"]), runs


def test_the_scenarios_notice_bytes_that_are_lost() -> None:
    runs = lines_of("reentry.py", "--loop", "broken", "--runs", "6", "connections")
    assert any("not those that were sent" in wrong for run in runs for wrong in run["wrong"]), runs


def test_the_scenarios_say_where_a_loop_has_raised() -> None:
    """And play to their end all the same: what is left half done has nothing of its own to say."""
    runs = lines_of("reentry.py", "--loop", "raising", "--runs", "1", "callbacks")
    for run in runs:
        wrong = "\n".join(run["wrong"])
        assert "raised ArithmeticError: in a turn at " in wrong, run
        assert "broken_turn" in wrong
        assert "unraisable" not in wrong
