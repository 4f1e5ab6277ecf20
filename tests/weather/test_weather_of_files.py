"""Each system call of the scenarios in scenarios_of_files.py fails once, in each way it can."""

from __future__ import annotations

import pytest
import scenarios_of_files
from weather_runs import check, check_at_random, needs_gcc

pytestmark = [
    pytest.mark.edgeloop_only(reason="asyncio does not survive all of it: campaign.py --loop asyncio says what"),
    needs_gcc,
]
names = pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in scenarios_of_files.SCENARIOS])


@names
def test_a_call_that_fails_does_no_other_harm(scenario: str) -> None:
    check("edgeloop", scenario)


@names
def test_interruptions_and_short_counts_are_not_noticed(scenario: str) -> None:
    check_at_random("edgeloop", scenario)
