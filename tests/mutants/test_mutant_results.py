"""What is kept of make mutants: its table in tests/README.md, and reasons for what is still there."""

from __future__ import annotations

import json

import pytest
from mutations import mutants
from reasons import KINDS, REASONS
from repository import ROOT
from table import RESULTS, table


def test_the_table_of_the_page_is_what_came_out() -> None:
    page = (ROOT / "tests" / "README.md").read_text()
    assert "\n".join(table()) in page, "python tests/mutants/table.py prints it"


@pytest.mark.parametrize("module", REASONS)
def test_a_reason_is_for_a_change_that_there_is(module: str) -> None:
    names = {mutant.name for mutant in mutants((ROOT / "edgeloop" / f"{module}.py").read_text())}
    lines = {name.partition(" => ")[0] for name in names}
    assert not REASONS[module].keys() - names - lines


def test_a_reason_says_of_which_kind_it_is() -> None:
    reasons = [reason for module in REASONS.values() for reason in module.values()]
    assert {reason.partition(":")[0] for reason in reasons} <= set(KINDS)


def test_tests_that_kill_are_there() -> None:
    killers = {
        name.partition("::")[0]
        for result in json.loads(RESULTS.read_text()).values()
        for tests in result["killers"].values()
        for name in tests
    }
    assert [path for path in killers if not (ROOT / path).exists()] == []
