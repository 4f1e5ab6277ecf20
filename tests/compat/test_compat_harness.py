"""The harness that runs CPython's test suite, itself tested on a small one: small_suite.py."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from small_suite import Harness, harness_in

from compat.control import Control
from compat.outcome import Outcome
from compat.report import judge


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return harness_in(tmp_path)


def outcomes(found: dict[str, Any]) -> dict[str, str]:
    return {test.partition(".")[2]: result["outcome"] for test, result in found["tests"].items()}


def test_outcomes_of_a_class(harness: Harness) -> None:
    status, found, output = harness("--class", "Plain")
    assert outcomes(found) == {
        "(import)": "error",
        "Plain.test_a_passes": "passed",
        "Plain.test_b_fails": "failed",
        "Plain.test_c_errors": "error",
        "Plain.test_d_skips": "skipped",
        "Plain.test_e_fails_everywhere": "failed",
        "Plain.test_f_subtests": "failed",
        "Plain.test_g_passes": "passed",
    }
    tests = found["tests"]
    failed = tests["test_outcomes.Plain.test_b_fails"]
    assert failed["reason"].startswith("AssertionError: 'standard' != 'foreign'")
    assert 'self.assertEqual("standard"' in failed["where"]
    assert "number=1" in tests["test_outcomes.Plain.test_f_subtests"]["reason"]
    assert "No module named 'no_such_module'" in tests["test_broken.(import)"]["reason"]
    # What the control fails too measures nothing; what it passes counts.
    assert found["uncounted"] == ["test_outcomes.Plain.test_e_fails_everywhere"]
    assert "test_outcomes.Plain.test_c_errors" in found["failures"]
    row = dict(zip(found["table"][0], found["table"][-1], strict=True))
    assert (row["control"], row["share"]) == ("5", "40.0 %")
    assert status == 1
    assert "KeyError: 'missing'" in output


def test_a_hang_is_a_result_and_the_rest_goes_on(harness: Harness) -> None:
    status, found, _ = harness("--module", "test_outcomes", "--class", "Hanging", "--timeout", "5")
    assert outcomes(found) == {
        "Hanging.test_a_passes": "passed",
        "Hanging.test_b_hangs": "hang",
        "Hanging.test_c_passes": "passed",
    }
    assert "test_b_hangs (test_outcomes.py:" in found["tests"]["test_outcomes.Hanging.test_b_hangs"]["reason"]
    assert status == 1


def test_a_crash_is_a_result_and_the_rest_goes_on(harness: Harness) -> None:
    status, found, _ = harness("--module", "test_outcomes", "--class", "Crashing")
    assert outcomes(found) == {
        "Crashing.test_a_passes": "passed",
        "Crashing.test_b_crashes": "crash",
        "Crashing.test_c_exits": "crash",
        "Crashing.test_d_passes": "passed",
    }
    assert found["tests"]["test_outcomes.Crashing.test_b_crashes"]["reason"].startswith("SIGSEGV: test_b_crashes")
    assert found["tests"]["test_outcomes.Crashing.test_c_exits"]["reason"].startswith("exit status 3")
    assert status == 1


def test_a_child_left_behind_neither_blocks_nor_survives(harness: Harness) -> None:
    status, found, _ = harness("--module", "test_outcomes", "--class", "Leaving")
    assert outcomes(found) == {"Leaving.test_forks_a_child_that_stays": "passed"}
    assert status == 0
    children = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "--class Leaving" not in children


def test_a_failing_fixture_counts_for_each_test(harness: Harness) -> None:
    status, found, _ = harness("--module", "test_outcomes", "--class", "Unprepared")
    assert outcomes(found) == {"Unprepared.test_a": "error", "Unprepared.test_b": "error"}
    assert "OSError: no class today" in found["tests"]["test_outcomes.Unprepared.test_b"]["reason"]
    assert status == 1


def test_every_way_to_a_loop_leads_to_the_one_under_test(harness: Harness) -> None:
    status, found, output = harness("--module", "test_ways")
    assert set(outcomes(found).values()) == {"passed"}, output
    assert len(found["tests"]) == 11
    assert status == 0


def test_the_control_goes_through_the_same_harness(harness: Harness) -> None:
    status, found, _ = harness("--module", "test_outcomes", loop="asyncio")
    assert [test for test, outcome in outcomes(found).items() if outcome == "failed"] == [
        "Plain.test_e_fails_everywhere"
    ]
    assert status == 0


def test_the_controls_results_are_kept_and_show_flakiness(harness: Harness, tmp_path: Path) -> None:
    harness("--module", "test_outcomes", "--class", "Plain", "-k", "test_c_errors")
    kept = json.loads((tmp_path / "control.json").read_text())
    # Once because nothing was known, once more because the foreign loop failed it.
    assert kept["test_outcomes.Plain.test_c_errors"]["outcomes"] == {"passed": 2}
    kept["test_outcomes.Plain.test_c_errors"]["outcomes"]["failed"] = 1
    (tmp_path / "control.json").write_text(json.dumps(kept))
    status, found, _ = harness("--module", "test_outcomes", "--class", "Plain", "-k", "test_c_errors")
    assert found["tests"]["test_outcomes.Plain.test_c_errors"]["control"] == "flaky: passed 2, failed 1"
    assert (status, found["failures"]) == (0, [])


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        ("foreign:no_such_loop", "has no attribute 'no_such_loop'"),
        ("foreign:not_a_loop", "not an asyncio.AbstractEventLoop"),
        ("nonsense", "neither a known loop nor MODULE:FACTORY"),
    ],
)
def test_a_loop_that_is_none(harness: Harness, loop: str, said: str) -> None:
    status, found, output = harness("--module", "test_outcomes", loop=loop)
    assert (status, found) == (2, {})
    assert said in output


def test_nothing_matches(harness: Harness) -> None:
    status, _, output = harness("--module", "test_outcomes", "-k", "no_such_test")
    assert status == 2
    assert "no test matches" in output


def test_judge_does_not_excuse_what_the_control_does_not_know(tmp_path: Path) -> None:
    control = Control(tmp_path / "control.json")
    judgement = judge({"m.C.(process exit)": Outcome("crash")}, control, {})
    assert judgement.failures == ["m.C.(process exit)"]
