"""What a recipe and CPython's suite expect to fail: how an entry is read, when it applies, when it is stale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT
from small_suite import Harness, harness_in

from compat import expectations

EXPECTED = """
["test_outcomes.Plain".test_b_fails]
line = 'self.assertEqual("standard", "foreign" if FOREIGN else "standard")'
why = "asks for the standard loop"
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return harness_in(tmp_path)


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
