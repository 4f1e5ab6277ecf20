"""The harness that runs other projects' suites, itself tested on a small suite that passes, fails, hangs and crashes.

The foreign loop of these tests is a subclass of the standard one, so they say nothing about edgeloop: they say that
the harness would notice.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from compat import expectations, recipe, table
from compat.__main__ import Run
from compat.environment import Environment, version_of
from compat.recipe import Recipe
from compat.suite import OUTSIDE

pytestmark = pytest.mark.edgeloop_only

COMPAT = Path(recipe.__file__).parent

FOREIGN_LOOP = """
    import asyncio

    Standard = asyncio.SelectorEventLoop

    class Loop(Standard):
        pass

    def new_event_loop():
        return Loop()

    def not_a_loop():
        return object()
"""

TESTS = """
    import asyncio, os, threading
    import pytest

    async def running():
        return type(asyncio.get_running_loop()).__module__

    FOREIGN = asyncio.run(running()) == "foreign"

    def test_a_passes():
        pass

    def test_b_fails():
        assert not FOREIGN, "only the standard loop can do that"

    @pytest.mark.parametrize("number", [1, 2])
    def test_c_parameters(number):
        assert not FOREIGN or number == 1

    def test_d_hangs():
        if FOREIGN:
            threading.Event().wait()

    def test_e_skips():
        pytest.skip("for no reason")

    @pytest.mark.xfail(reason="known")
    def test_f_expected_to_fail():
        assert not FOREIGN

    @pytest.fixture
    def broken():
        assert not FOREIGN
        yield

    def test_g_error_in_a_fixture(broken):
        pass

    def test_h_dies():
        if FOREIGN:
            os._exit(3)

    def test_i_fails_everywhere():
        raise KeyError("missing")

    class TestClass:
        def test_in_a_class(self):
            asyncio.SelectorEventLoop().close()
"""


class Laid(Environment):
    """This interpreter, with the harness' modules where the recipe's variables make them found."""

    def __init__(self, the_recipe: Recipe) -> None:
        super().__init__(the_recipe)
        self.python = Path(sys.executable)

    def prepare(self, *, pinned: bool = True) -> None:
        assert pinned

    def lay_out(self, folder: Path) -> None:
        (folder / "tests").mkdir()
        (folder / "tests" / "test_them.py").write_text(textwrap.dedent(TESTS))
        (folder / "tests" / "test_elsewhere.py").write_text("import something_that_only_another_system_has\n")


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder with what the harness copies into an environment, and the foreign loop."""
    for source, name in {"startup": "edgeloop_compat_startup", "plugin": "edgeloop_compat_plugin"}.items():
        (tmp_path / f"{name}.py").write_bytes((COMPAT / f"{source}.py").read_bytes())
    (tmp_path / "foreign.py").write_text(textwrap.dedent(FOREIGN_LOOP))
    return tmp_path


@pytest.fixture
def small(modules: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe for the tests above, in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(modules / "cache"))
    monkeypatch.setattr(recipe, "PROJECTS", modules / "projects")
    (modules / "projects" / "small").mkdir(parents=True)
    return Recipe(
        name="small",
        tests=("tests",),
        options=("-p", "no:cacheprovider"),
        timeout=5.0,
        environment={"PYTHONPATH": str(modules), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        left_out={"tests/test_elsewhere.py": "needs another system"},
    )


def run_small(
    the_recipe: Recipe,
    pattern: str | None = None,
    loop: str = "foreign:new_event_loop",
    environment: type[Environment] = Laid,
) -> Run:
    args = argparse.Namespace(loop=loop, pattern=pattern, control=False, lock=False)
    run = Run(args, the_recipe)
    run.environment = environment(the_recipe)
    run.run()
    return run


def test_a_run_compares_test_by_test(small: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_small(small)
    here = "tests/test_them.py::"
    assert {test.removeprefix(here): outcome.outcome for test, outcome in run.found.outcomes.items()} == {
        "test_a_passes": "passed",
        "test_b_fails": "failed",
        "test_c_parameters[1]": "passed",
        "test_c_parameters[2]": "failed",
        "test_d_hangs": "hang",
        "test_e_skips": "skipped",
        "test_f_expected_to_fail": "skipped",
        "test_g_error_in_a_fixture": "error",
        "test_h_dies": "crash",
        "test_i_fails_everywhere": "failed",
        "TestClass::test_in_a_class": "passed",
    }
    failures = [test.removeprefix(here) for test in run.judgement.failures]
    assert failures == [
        "test_b_fails",
        "test_c_parameters[2]",
        "test_d_hangs",
        "test_g_error_in_a_fixture",
        "test_h_dies",
    ]
    assert "test_i_fails_everywhere" in str(run.judgement.uncounted)
    assert not run.good and not run.stale and not run.problems
    assert run.found.outcomes[here + "test_b_fails"].reason == "AssertionError: only the standard loop can do that"
    assert run.found.outcomes[here + "test_d_hangs"].reason.startswith("nothing for 5 s in wait")
    assert run.found.made["foreign.Loop"] >= 2 and not run.found.made["asyncio.unix_events._UnixSelectorEventLoop"]
    run.show()
    assert "AssertionError: only the standard loop can do that" in capsys.readouterr().out
    row = run.row()
    assert (row.tests, row.control, row.edgeloop) == (11, 8, 3)
    assert row.differences == ("5 FAILED", "left out `tests/test_elsewhere.py`: needs another system")


def test_a_failure_is_explained_by_a_line_of_its_file(small: Recipe) -> None:
    (small.folder / "expectations.toml").write_text(
        '["tests/test_them.py::test_b_fails"]\nline = "assert not FOREIGN, \\"only"\nwhy = "asks for the loop\'s name"\n'
        '["tests/test_them.py::test_c_parameters[2]"]\nline = "gone since"\nwhy = "w"\n'
        '["tests/test_them.py::test_a_passes"]\nline = "def test_a_passes"\nwhy = "w"\n'
        '["tests/test_them.py::test_none"]\nline = "x"\nwhy = "w"\n'
    )
    run = run_small(small)
    assert run.judgement.surprises == ["tests/test_them.py::test_a_passes"]
    assert "tests/test_them.py::test_b_fails" in run.judgement.explained
    assert "tests/test_them.py::test_b_fails" not in run.judgement.failures
    assert run.stale == [
        "tests/test_them.py::test_c_parameters[2]: its source does not contain 'gone since'",
        "tests/test_them.py::test_none: no such test on this version",
    ]
    assert "1: asks for the loop's name" in run.row().differences


class LaidWithConfiguration(Laid):
    """A project's configuration and conftest.py, which no other pytest could run with, and tests of our own below."""

    def lay_out(self, folder: Path) -> None:
        (folder / "pytest.ini").write_text("[pytest]\naddopts = --an-option-of-a-plugin-of-theirs\n")
        (folder / "conftest.py").write_text("import something_of_theirs\n")
        (folder / "own").mkdir()
        (folder / "own" / "test_ours.py").write_text("def test_ours():\n    pass\n")


def test_the_project_s_configuration_is_not_for_tests_of_our_own(small: Recipe) -> None:
    (small.folder / "test_ours.py").touch()
    run = run_small(replace(small, tests=(), left_out={}), environment=LaidWithConfiguration)
    assert {test: one.outcome for test, one in run.found.outcomes.items()} == {"own/test_ours.py::test_ours": "passed"}


class LaidWithATestNobodyCanStart(LaidWithConfiguration):
    """Tests of our own beside the project's, and their conftest.py is broken."""

    def lay_out(self, folder: Path) -> None:
        super().lay_out(folder)
        (folder / "own" / "conftest.py").write_text("import something_of_ours\n")


def test_tests_of_our_own_that_cannot_start_are_no_success(small: Recipe) -> None:
    (small.folder / "test_ours.py").touch()
    run = run_small(replace(small, tests=(), left_out={}), environment=LaidWithATestNobodyCanStart)
    assert not run.good
    assert "something_of_ours" in run.problems[0]


def test_what_is_left_out_must_exist(small: Recipe) -> None:
    small.left_out["tests/test_them.py::test_gone"] = "was slow"
    small.left_out["tests/test_them.py::test_[dh]_*"] = "no glob of sets: node ids have brackets in them"
    small.left_out["tests/test_them.py::test_c_parameters[2]"] = "the second one"
    small.left_out["tests/test_them.py::*_dies"] = "dies"
    run = run_small(small, loop="asyncio")
    assert "tests/test_them.py::test_c_parameters[2]" not in run.found.outcomes
    assert "tests/test_them.py::test_h_dies" not in run.found.outcomes
    assert "tests/test_them.py::test_c_parameters[1]" in run.found.outcomes
    run = run_small(small)
    assert run.stale == [
        "tests/test_them.py::test_gone: left out, and there is no such test",
        "tests/test_them.py::test_[dh]_*: left out, and there is no such test",
    ]


def test_a_pattern_runs_what_contains_it(small: Recipe) -> None:
    run = run_small(small, pattern="c_parameters")
    assert set(run.found.outcomes) == {f"tests/test_them.py::test_c_parameters[{number}]" for number in (1, 2)}
    with pytest.raises(ValueError, match="no test of small contains 'nowhere'"):
        run_small(small, pattern="nowhere")


def test_a_file_that_cannot_be_imported_is_a_failure_outside_of_tests(small: Recipe) -> None:
    small.left_out.clear()
    run = run_small(small)
    assert "something_that_only_another_system_has" in run.found.outcomes["tests/test_elsewhere.py"].reason
    assert "tests/test_elsewhere.py" in run.judgement.uncounted  # not importable on the control either


def test_a_suite_that_cannot_start_is_no_success(small: Recipe) -> None:
    small.environment["PYTEST_ADDOPTS"] = "--no-such-option"
    run = run_small(small)
    assert not run.good
    assert OUTSIDE in run.judgement.failures and "exit status 4" in run.problems[0]


def test_a_swap_that_does_not_take_is_noticed(modules: Path) -> None:
    def start(loop: str, program: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"PYTHONPATH": str(modules), "EDGELOOP_COMPAT_LOOP": loop}
        return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)

    loops = """
        import edgeloop_compat_startup as startup
        import asyncio, asyncio.events, json
        async def running():
            return type(asyncio.get_running_loop()).__qualname__
        with asyncio.Runner() as runner:
            found = [asyncio.run(running()), runner.run(running())]
        for way in (asyncio.new_event_loop, asyncio.events.new_event_loop, asyncio.SelectorEventLoop):
            loop = way()
            found += [type(loop).__qualname__, isinstance(loop, asyncio.SelectorEventLoop)]
            loop.close()
        print(json.dumps([found, startup.made, startup.strays]))
    """
    done = start("foreign:new_event_loop", textwrap.dedent(loops))
    assert json.loads(done.stdout)[:2] == [["Loop", "Loop", *["Loop", True] * 3], {"foreign.Loop": 5}], done.stderr
    done = start("asyncio", textwrap.dedent(loops))
    standard = "_UnixSelectorEventLoop"
    assert json.loads(done.stdout)[0] == [standard, standard, *[standard, True] * 3], done.stderr
    done = start("foreign:not_a_loop", "import edgeloop_compat_startup")
    assert "is not an asyncio.AbstractEventLoop" in done.stderr and done.returncode == 1
    done = start("nowhere", "import edgeloop_compat_startup")
    assert "neither a known loop nor MODULE:FACTORY" in done.stderr and done.returncode == 1


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="dpkg-query is not installed here: no Debian")
def test_a_program_s_version_stands_in_the_table_where_there_is_no_release(small: Recipe) -> None:
    assert version_of(replace(small, version="1.2", debian=("dpkg",))) == "1.2"
    assert re.match(r"\d+\.\d+", version_of(replace(small, version="", debian=("dpkg",))))
    assert version_of(replace(small, version="", debian=())) == ""


def test_the_table_has_one_row_for_each_project_python_and_edition(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n" + table._BEGIN + table._END + "after\n")

    def row(project: str, python: str, passed: int) -> table.Row:
        return table.Row(project, "1.0", python, "compiled", 10, 9, passed, ("2 | FAILED",), "2026-01-01")

    table.write(row("b", "3.13", 9), page)
    table.write(row("a", "3.13", 8), page)
    table.write(row("a", "3.11", 9), page)
    table.write(row("a", "3.13", 9), page)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert [line.split(" | ")[0:3:2] for line in lines[6:-3]] == [["| a", "3.11"], ["| a", "3.13"], ["| b", "3.13"]]
    assert "| a | 1.0 | 3.13 | compiled | 10 | 9 | 9 | 2 \\| FAILED | 2026-01-01 |" in lines
    with pytest.raises(ValueError, match="no place for the table"):
        page.write_text("nothing")
        table.write(row("a", "3.13", 9), page)


def test_reasons_stand_below_the_table_and_the_sum_above(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(table._BEGIN + table._END)
    written = [
        table.Row("a", "1.0", "3.9", "compiled", 20, 20, 0, (), "2026-01-01"),
        table.Row("a", "1.0", "3.13", "compiled", 20, 10, 7, ("2: is, or was, odd", "1: asks | the net"), "2026-01-01"),
        table.Row("a", "1.0", "3.13", "pure", 20, 10, 10, ("left out `x`: y", "left out `z`: y"), "2026-01-01"),
        table.Row("a-again", "1.0", "3.13", "compiled", 20, 10, 10, (), "2026-01-01"),
        table.Row("b", "2", "3.13", "compiled", 2000, 1990, 1990, ("1 FAILED", "left out `x`: y"), "2026-01-01"),
    ]
    for row in reversed(written):
        table.write(row, page)
    assert table.read(page.read_text()) == sorted(written, key=lambda row: row.key)
    lines = page.read_text().splitlines()
    assert lines[1] == "**2 suites: 2,000 tests pass on asyncio, 1,997 of them on edgeloop; 3 are explained below.**"
    assert "| a | 1.0 | 3.13 | compiled | 20 | 10 | 7 | 2[^1], 1[^2] | 2026-01-01 |" in lines
    assert "| a | 1.0 | 3.13 | pure | 20 | 10 | 10 | left out[^3][^4] | 2026-01-01 |" in lines
    assert "| b | 2 | 3.13 | compiled | 2000 | 1990 | 1990 | 1 FAILED, left out[^3] | 2026-01-01 |" in lines
    assert lines[-5:-1] == ["[^1]: is, or was, odd", "[^2]: asks | the net", "[^3]: `x`: y", "[^4]: `z`: y"]


def test_readme_s_sum_is_the_table_s() -> None:
    told = table.summed(table.read(table.README.read_text())).removesuffix(" below")
    assert told in " ".join(table.README.parents[1].joinpath("README.md").read_text().split())


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('tests = ["tests"]', "package, version and sha256"),
        ('package = "p"\nversion = "1"\nsha256 = "s"', "neither tests of the project nor tests of our own"),
        ('vresion = "1"', "unknown keys"),
        ('tests = ["t"]\npackage = "p"\nversion = "1"\nsha256 = "s"\n[left_out]\n"t" = " "', "without a reason"),
    ],
)
def test_a_recipe_with_a_mistake_says_so(text: str, wrong: str, small: Recipe) -> None:
    (small.folder / "recipe.toml").write_text(text)
    with pytest.raises(ValueError, match=wrong):
        recipe.load("small")
    with pytest.raises(LookupError, match="'none'; there are: small"):
        recipe.load("none")


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_is_complete(name: str) -> None:
    the_recipe = recipe.load(name)
    assert (the_recipe.folder / "constraints.txt").exists(), "run python -m compat NAME --lock"
    assert the_recipe.page and (COMPAT.parent / the_recipe.page).exists()
    if (the_recipe.folder / "expectations.toml").exists():
        assert expectations.load(the_recipe.folder / "expectations.toml")
