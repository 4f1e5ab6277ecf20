"""edgeloop on a simulated kernel: new runs, those in which something was wrong once, and rules that are broken."""

from __future__ import annotations

import os
import random
import sys

import pytest
from simulated_kept import TAPES
from simulated_processes import answer, campaign, complaint, signals, start
from simulated_reached import IS_KNOWN, shortfalls

RUNS = 20000
#: ``SIMULATION=123``: the runs from that seed on, instead of new ones.
CHOSEN = os.environ.get("SIMULATION")
SECONDS = 40  # at most; a machine with much else to do plays fewer


def test_nothing_is_wrong_in_twenty_thousand_runs(
    request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    """From seeds that nobody has tried. ``pytest --seed=N`` plays that run alone."""
    seed = request.config.getoption("--seed")
    if seed is not None:
        result = campaign("--replay", seed)
        assert not result["failures"]
        return
    first = int(CHOSEN) if CHOSEN else random.SystemRandom().randrange(1 << 48)
    with capfd.disabled():
        print(f"\nthese runs again: SIMULATION={first} pytest tests/simulation", file=sys.stderr)
    half = RUNS // 2
    shares = [start("--schedules", half, "--seconds", SECONDS, "--seed", base) for base in (first, first + half)]
    results = [answer(process) for process in shares]
    complaints = [complaint(result) for result in results if complaint(result)]
    assert not complaints, "\n".join(complaints)
    missed = shortfalls(results)
    assert not missed, "\n".join(missed)


def test_what_was_wrong_once_is_right() -> None:
    for name, tape in TAPES.items():
        result = campaign("--tape", tape)
        assert not result["failures"], name


def test_each_broken_rule_is_noticed() -> None:
    noticed = campaign("--breaks", "--schedules", 10000)
    assert not [name for name, found in noticed.items() if found is None]


def test_a_campaign_that_meets_too_little_says_what() -> None:
    result = campaign("--schedules", 1)  # too few for a fork
    assert not shortfalls([result])
    said = shortfalls([{**result, "schedules": 12000}])
    assert "never happened: a fork" in said
    assert "never happened: dupfd: EMFILE" not in said  # which is rare
    assert "never happened: dupfd: EMFILE" in shortfalls([{**result, "schedules": 500000}])
    if IS_KNOWN:  # Python 3.11 has no sys.monitoring, which says what was reached
        assert "never reached: core/fork.py _before_fork: reactor.push()" in said
        assert any(line.endswith(" -> no") for line in said)


def test_a_signal_handler_may_write_at_any_moment() -> None:
    result = signals("--every", 151)
    assert not result["wrong"], "\n".join(result["wrong"])
    assert result["runs"] > 500


def test_a_seed_gives_the_same_trace_again_in_another_process() -> None:
    ones = [start("--digests", "--schedules", 100, "--seed", 5) for _ in range(2)]
    digests = [answer(one) for one in ones]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) > 90
