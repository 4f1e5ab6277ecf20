"""The harness that runs CPython's test suite, itself tested on a small suite that passes, fails, hangs and crashes.

The foreign loop of these tests is a subclass of the standard one, so they say nothing about edgeloop: they say that
the harness would notice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compat import expectations
from compat.control import Control
from compat.outcome import Outcome
from compat.report import judge

ROOT = Path(__file__).resolve().parents[1]

FOREIGN_LOOP = """
    import asyncio

    class Loop(asyncio.SelectorEventLoop):
        pass

    new_event_loop = Loop

    def not_a_loop():
        return object()
"""

OUTCOMES = """
    import asyncio, os, signal, threading, time, unittest

    loop = asyncio.new_event_loop()
    FOREIGN = type(loop).__module__ == "foreign"
    loop.close()

    class Plain(unittest.TestCase):
        def test_a_passes(self):
            pass

        def test_b_fails(self):
            self.assertEqual("standard", "foreign" if FOREIGN else "standard")

        def test_c_errors(self):
            if FOREIGN:
                raise KeyError("missing")

        def test_d_skips(self):
            self.skipTest("for no reason")

        def test_e_fails_everywhere(self):
            self.fail("not even on the control")

        def test_f_subtests(self):
            for number in range(3):
                with self.subTest(number=number):
                    self.assertFalse(FOREIGN and number == 1)

        def test_g_passes(self):
            pass

    class Hanging(unittest.TestCase):
        def test_a_passes(self):
            pass

        def test_b_hangs(self):
            if FOREIGN:
                threading.Event().wait()

        def test_c_passes(self):
            pass

    class Crashing(unittest.TestCase):
        def test_a_passes(self):
            pass

        def test_b_crashes(self):
            if FOREIGN:
                os.kill(os.getpid(), signal.SIGSEGV)

        def test_c_exits(self):
            if FOREIGN:
                os._exit(3)

        def test_d_passes(self):
            pass

    class Leaving(unittest.TestCase):
        def test_forks_a_child_that_stays(self):
            if os.fork() == 0:
                time.sleep(600)

    class Unprepared(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            if FOREIGN:
                raise OSError("no class today")

        def test_a(self):
            pass

        def test_b(self):
            pass
"""

WAYS = """
    import asyncio, selectors, unittest

    class Ways(unittest.TestCase):
        def check(self, loop):
            self.addCleanup(loop.close)
            self.assertEqual(type(loop).__module__, "foreign")

        def test_new_event_loop(self):
            self.check(asyncio.new_event_loop())

        def test_policy(self):
            if hasattr(asyncio, "set_event_loop_policy"):
                asyncio.set_event_loop_policy(None)
            self.check(asyncio.new_event_loop())

        def test_run(self):
            async def running():
                return asyncio.get_running_loop()
            self.check(asyncio.run(running()))

        def test_runner(self):
            with asyncio.Runner() as runner:
                self.check(runner.get_loop())

        def test_selector_event_loop(self):
            self.check(asyncio.SelectorEventLoop())
            self.check(asyncio.SelectorEventLoop(selectors.EpollSelector()))

        def test_event_loop(self):
            self.check(getattr(asyncio, "EventLoop", asyncio.SelectorEventLoop)())

        def test_isinstance(self):
            loop = asyncio.new_event_loop()
            self.check(loop)
            self.assertIsInstance(loop, asyncio.SelectorEventLoop)
            self.assertNotIsInstance(object(), asyncio.SelectorEventLoop)

        def test_name(self):
            self.assertEqual(asyncio.SelectorEventLoop.__name__, "_UnixSelectorEventLoop")

        def test_subclass(self):
            class Mine(asyncio.SelectorEventLoop):
                def mine(self):
                    return self.is_closed()
            loop = Mine()
            self.addCleanup(loop.close)
            self.assertFalse(loop.mine())

    class Mixin(unittest.TestCase):
        def create_event_loop(self):
            raise AssertionError("this should have been replaced")

        def test_create_event_loop(self):
            loop = self.create_event_loop()
            self.addCleanup(loop.close)
            self.assertEqual(type(loop).__module__, "foreign")

    class Isolated(unittest.IsolatedAsyncioTestCase):
        async def test_running_loop(self):
            self.assertEqual(type(asyncio.get_running_loop()).__module__, "foreign")
"""

Harness = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """``harness("--module", "test_x", ...)`` runs the harness on the small suite: exit status, JSON, output."""
    suite = tmp_path / "smallsuite"
    suite.mkdir()
    for path, text in {
        tmp_path / "foreign.py": FOREIGN_LOOP,
        suite / "__init__.py": "",
        suite / "test_broken.py": "import no_such_module",
        suite / "test_outcomes.py": OUTCOMES,
        suite / "test_ways.py": WAYS,
    }.items():
        path.write_text(textwrap.dedent(text))
    (tmp_path / "none.toml").touch()

    def run(*arguments: str, loop: str = "foreign:new_event_loop") -> tuple[int, dict[str, Any], str]:
        found = tmp_path / "found.json"
        found.unlink(missing_ok=True)
        fixed = ["--suite", "smallsuite", "--loop", loop, "--timeout", "30", "--json", str(found)]
        fixed += ["--control-file", str(tmp_path / "control.json"), "--expectations", str(tmp_path / "none.toml")]
        done = subprocess.run(
            [sys.executable, "-m", "compat.asyncio", *fixed, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, json.loads(found.read_text()) if found.exists() else {}, done.stdout + done.stderr

    return run


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


EXPECTED = """
["test_outcomes.Plain".test_b_fails]
line = 'self.assertEqual("standard", "foreign" if FOREIGN else "standard")'
why = "asks for the standard loop"
"""


def test_an_expected_failure_is_explained(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text(EXPECTED)
    chosen = ("--module", "test_outcomes", "-k", "test_b_fails", "--expectations", str(tmp_path / "some.toml"))
    status, found, _ = harness(*chosen)
    assert (status, found["explained"]) == (0, ["test_outcomes.Plain.test_b_fails"])
    version = ".".join(map(str, sys.version_info[:2]))
    (tmp_path / "some.toml").write_text(EXPECTED + f'versions = "{version}"\n')
    assert harness(*chosen)[0] == 0
    (tmp_path / "some.toml").write_text(EXPECTED + 'versions = "-3.10"\n')
    assert harness(*chosen)[0] == 1


def test_an_unexpected_pass_fails(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text(
        EXPECTED.replace("test_b_fails", "test_a_passes").replace(EXPECTED.splitlines()[2], "line = 'pass'")
    )
    chosen = ("--module", "test_outcomes", "-k", "test_a_passes", "--expectations", str(tmp_path / "some.toml"))
    status, found, output = harness(*chosen, "--class", "Plain")
    assert (status, found["surprises"]) == (1, ["test_outcomes.Plain.test_a_passes"])
    assert "Passed although" in output


def test_a_stale_expectation_fails(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text(EXPECTED.replace("asse", "refu"))
    chosen = ("--module", "test_outcomes", "-k", "test_b_fails", "--expectations", str(tmp_path / "some.toml"))
    status, found, _ = harness(*chosen)
    assert status == 1
    assert found["stale"] == [
        "test_outcomes.Plain.test_b_fails: its source does not contain "
        '\'self.refurtEqual("standard", "foreign" if FOREIGN else "standard")\''
    ]


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


@pytest.mark.parametrize(
    ("versions", "covered"),
    [
        ("", [11, 12, 13, 14, 15]),
        ("3.12", [12]),
        ("3.12-3.14", [12, 13, 14]),
        ("3.14-", [14, 15]),
        ("-3.12", [11, 12]),
    ],
)
def test_versions_of_an_expectation(versions: str, covered: list[int]) -> None:
    entry = expectations.Expectation("m.C.t", "line", "why", versions)
    assert [minor for minor in range(11, 16) if entry.applies((3, minor), "")] == covered


def test_editions_of_an_expectation() -> None:
    entry = expectations.Expectation("m.C.t", "line", "why", editions=("pure",))
    assert entry.applies((3, 13), "pure")
    assert not entry.applies((3, 13), "compiled")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["m.C".test_x]\nline = "x"\n', "an entry needs"),
        ('["m.C".test_x]\nwhy = "x"\n', "an entry needs"),
        ('["m.C".test_x]\nline = "x"\nwhy = "x"\nversion = "3.11"\n', "unknown keys"),
        ('[C.test_x]\nline = "x"\nwhy = "x"\n', "module.Class.test"),
    ],
)
def test_an_incomplete_expectation_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "expectations.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        expectations.load(path)


def test_the_expectations_in_this_repository_hold_here() -> None:
    """Every entry names a test of this interpreter's suite (in its versions), with a line that is in that test."""
    done = subprocess.run(
        [sys.executable, "-m", "compat.asyncio", "--loop", "asyncio", "--check-expectations"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
