"""edgeloop on a simulated kernel: new runs, those in which something was wrong once, and rules that are broken."""

from __future__ import annotations

import os
import random

import pytest
from simulated_kept import TAPES
from simulated_processes import answer, campaign, complaint, start
from simulated_reached import missing_lines
from simulated_weather import SOMETIMES

#: Whether the seeds are new, and so may find what nobody has seen: ``SIMULATION=new``. Else they are the same each time.
NEW = os.environ.get("SIMULATION") == "new"
FIRST = 7000000
SCHEDULES = 20000
SECONDS = 20  # at most; a machine with much else to do plays fewer
ENOUGH = 15000  # in so many runs everything that may happen has happened


def test_nothing_is_wrong_in_twenty_thousand_runs(request: pytest.FixtureRequest) -> None:
    """In two processes. ``pytest --seed=N`` plays that run alone."""
    seed = request.config.getoption("--seed")
    if seed is not None:
        result = campaign("--replay", seed)
        assert not result["failures"]
        return
    first = random.SystemRandom().randrange(1 << 48) if NEW else FIRST
    halves = [
        start("--schedules", SCHEDULES // 2, "--seconds", SECONDS, "--seed", first + half * FIRST) for half in (0, 1)
    ]
    results = [answer(half) for half in halves]
    for result in results:
        assert not complaint(result), complaint(result)
    if sum(result["schedules"] for result in results) >= ENOUGH:
        seen = {*results[0]["seen"], *results[1]["seen"]}
        assert not SOMETIMES - seen, f"never happened: {sorted(SOMETIMES - seen)}"
        lines = missing_lines(results)
        assert not lines, "never reached:\n" + "\n".join(lines)


def test_what_was_wrong_once_is_right() -> None:
    for name, tape in TAPES.items():
        result = campaign("--tape", tape)
        assert not result["failures"], name


def test_each_broken_rule_is_noticed() -> None:
    noticed = campaign("--breaks", "--schedules", 10000)
    assert not [name for name, found in noticed.items() if found is None]


def test_a_seed_gives_the_same_trace_again_in_another_process() -> None:
    ones = [start("--digests", "--schedules", 100, "--seed", 5) for _ in range(2)]
    digests = [answer(one) for one in ones]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) > 90


def test_nothing_is_wrong_where_servers_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timeouts and rates, set and changed, in the same conversations."""
    monkeypatch.setenv("SIMULATION_LIMITS", "1")
    result = answer(start("--schedules", 1000, "--seconds", 4, "--seed", FIRST))
    assert not complaint(result), complaint(result)
