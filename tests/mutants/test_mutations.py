"""What make mutants changes in a source, and what it leaves alone."""

from __future__ import annotations

import textwrap

import pytest
from mutations import mutants


def changes(source: str) -> dict[str, str]:
    """Return the mutated line of each change."""
    source = textwrap.dedent(source)
    found = {}
    for mutant in mutants(source):
        compile(mutant.source, mutant.name, "exec", dont_inherit=True)
        assert mutant.source.count("\n") == source.count("\n"), mutant.change
        found[mutant.change] = mutant.source.splitlines()[mutant.line - 1].strip()
    return found


@pytest.mark.parametrize(
    ("line", "change", "mutated"),
    [
        ("return a < b", "< -> <=", "return a <= b"),
        ("return a is not b", "is not -> is", "return a is b"),
        ("return a + 1", "1 -> 2", "return a + 2"),
        ("return a - b", "return None", "return None"),
        ("return a and b.c", "without and a", "return ((b.c))"),
        ("return not a", "without not", "return (a)"),
        ("a.b |= 4", "|= -> &=", "a.b &= 4"),
        ("a.b = 4", "left out", "pass"),
        ("a = 0.5", "0.5 -> 5.0", "a = 5.0"),
        ("b(a, c=True)", "True -> False", "b(a, c=False)"),
        ("raise a", "left out", "pass"),
    ],
)
def test_a_line_is_changed_in_one_place(line: str, change: str, mutated: str) -> None:
    assert changes(f"def f(a, b):\n    {line}\n")[change] == mutated


def test_a_condition_is_taken_for_true_and_for_false() -> None:
    found = changes("def f(a):\n    if a.b:\n        a.c()\n    while a:\n        a.d()\n")
    assert found["a.b -> True"] == "if True:"
    assert found["a.b -> False"] == "if False:"
    assert found["while a -> False"] == "while False:"


def test_lines_keep_their_numbers_where_a_statement_of_several_is_left_out() -> None:
    assert changes("def f(a):\n    a.b(\n        a,\n    )\n    return a\n")["left out"] == "pass"


def test_an_exception_is_let_pass() -> None:
    found = changes("def f(a):\n    try:\n        a()\n    except (OSError, ValueError):\n        pass\n")
    assert found["except (OSError, ValueError) lets it pass"] == "except ():"


def test_nothing_that_only_people_and_tools_read_is_changed() -> None:
    source = '''
    """1 < 2"""
    import os

    def f(a: "1 < 2", b: int | None) -> int | None:
        """True"""
        c = 2 and a
        del b
        print(f"{1}", "%d" % c)
    '''
    assert {change for change in changes(source) if "and" not in change} == {"2 -> 3", "2 -> 1", "left out"}


def test_a_mutant_is_named_by_its_function_and_its_line() -> None:
    source = "class C:\n    def f(self):\n        self.a = 1  # first\n"
    assert [mutant.name for mutant in mutants(source)] == [
        "C.f: self.a = 1 => left out",
        "C.f: self.a = 1 => 1 -> 2",
        "C.f: self.a = 1 => 1 -> 0",
    ]
