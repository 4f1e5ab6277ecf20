"""What pytest's session and its process are left with, where ``--edgeloop`` is asked for and where it isn't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_suites import ON_EDGELOOP, Suite, loops, pytest_in, suite_in

pytestmark = pytest.mark.edgeloop_only


@pytest.fixture
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> Suite:
    return suite_in(tmp_path, request.config)


WITHOUT_PLUGINS = """
    import sys
    sys.modules["anyio"] = sys.modules["pytest_asyncio"] = None  # as if they were not installed
"""


def test_neither_plugin_is_needed(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    module = """
        import asyncio
        import unittest
        from which_loop import say

        class Unittest(unittest.IsolatedAsyncioTestCase):
            async def test_unittest(self):
                say("unittest")
    """
    files = {"conftest": WITHOUT_PLUGINS, "test_unittest": module}
    assert loops(suite("-p", "pytest_edgeloop", **files)) == [("unittest", "asyncio")]
    assert loops(suite("-p", "pytest_edgeloop", "--edgeloop")) == [("unittest", "edgeloop")]


def test_without_the_option_nothing_is_imported(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    module = """
        import sys
        def test_modules(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("pytest_edgeloop")
            assert "pytest_edgeloop" in sys.modules
            assert "edgeloop" not in sys.modules
    """
    assert "edgeloop:" not in suite("-p", "pytest_edgeloop", test_modules=module)
    # Nor anything else: asyncio may be there already, pytest brings it with it since Python 3.14.
    added = "import sys, pytest; before = set(sys.modules); import pytest_edgeloop; print(*set(sys.modules) - before)"
    said = subprocess.run([sys.executable, "-c", added], check=True, capture_output=True, text=True, timeout=60).stdout
    assert said == "pytest_edgeloop\n"


def test_the_entry_point_alone_changes_nothing(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "test_on_edgeloop.py").write_text(ON_EDGELOOP)
    done = pytest_in(tmp_path, request.config)
    assert "3 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert "edgeloop:" not in done.stdout


def test_where_edgeloop_is_imported_first_and_warnings_are_errors(suite: Suite, tmp_path: Path) -> None:
    """pytest rewrites the assertions of its plugins' packages, and complains of those that came too early."""
    module = """
        import asyncio
        from which_loop import say

        async def main():
            say("run")

        def test_run():
            asyncio.run(main())
    """
    suite("--edgeloop", "-p", "no:asyncio", "-W", "error", test_run=module)
    early = [sys.executable, "-m", "edgeloop", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    done = subprocess.run(
        [*early, "-s", "-W", "error", "test_run.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert loops(done.stdout) == [("run", "edgeloop")]


def test_a_session_leaves_nothing_behind(suite: Suite) -> None:
    """A session may run within another one, in the same process: pytester's do."""
    inner = """
        import asyncio
        import pytest

        def made():
            loop = asyncio.new_event_loop()
            loop.close()
            return type(loop).__module__.partition(".")[0]

        def test_inner():
            print(f"[inner: {made()}]")

        if __name__ == "__main__":
            for options in ([], ["--edgeloop"], []):
                assert pytest.main(["-s", "-p", "no:cacheprovider", "-p", "no:asyncio", *options, __file__]) == 0
                print(f"[between: {made()}]")
    """
    outer = """
        import subprocess, sys
        def test_outer():
            subprocess.run([sys.executable, "-W", "error", "inner.py"], check=True)
    """
    assert loops(suite(inner=inner, test_outer=outer)) == [
        ("inner", "asyncio"),
        ("between", "asyncio"),
        ("inner", "edgeloop"),
        ("between", "asyncio"),
        ("inner", "asyncio"),
        ("between", "asyncio"),
    ]


def test_python_without_policies(suite: Suite) -> None:
    """Python 3.16 has none. Before it, a plugin that takes them out of asyncio first stands for it."""
    no_policies = """
        import asyncio
        for name in list(vars(asyncio)):
            if "olicy" in name or name == "__getattr__":  # __getattr__ offers the deprecated names in 3.14
                delattr(asyncio, name)
    """
    module = """
        import asyncio
        from which_loop import say

        async def main():
            say("run")

        def test_run():
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
    """
    output = suite("--edgeloop", "-p", "no_policies", "-p", "no:asyncio", no_policies=no_policies, test_a=module)
    assert loops(output) == [("run", "edgeloop")]
