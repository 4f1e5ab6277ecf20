"""Each system call of the scenarios in scenarios_of_the_loop.py fails once, in each way it can."""

from __future__ import annotations

import pytest
import scenarios_of_the_loop
from kernel_truth import needs_gcc
from weather_runs import check

# asyncio does not survive all of it: ``campaign.py --loop asyncio SCENARIO`` says what.
pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather, needs_gcc]


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in scenarios_of_the_loop.SCENARIOS])
def test_a_call_that_fails_does_no_other_harm(scenario: str) -> None:
    check(scenario)
