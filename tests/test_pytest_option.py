"""``pytest --edgeloop``: suites that know nothing of edgeloop run on it, unchanged, and nobody else's session is touched."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_suites import ON_EDGELOOP, PYTEST_ASYNCIO, WITH_ANYIO, pytest_in
from switching_on_page import command, needs_policies, program

import edgeloop

pytestmark = pytest.mark.edgeloop_only

has_the_hook = pytest.mark.skipif(PYTEST_ASYNCIO < (1, 4), reason="the hook came with pytest-asyncio 1.4")

# Any suite can ask what its loop is; the answer is printed so that the control can be told from edgeloop.
WHICH_LOOP = """
import asyncio

def say(where):
    print(f"[{where}: {type(asyncio.get_running_loop()).__module__}]")
"""

Suite = Callable[..., str]


@pytest.fixture
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> Suite:
    """``suite("--edgeloop", test_a="source", ...)`` writes the modules, runs pytest in their folder and returns what it
    prints. Every test must pass."""

    def run(*arguments: str, **modules: str) -> str:
        for name, source in {"which_loop": WHICH_LOOP, **modules}.items():
            file = tmp_path / (name.replace("__", "/") + ".py")
            file.parent.mkdir(exist_ok=True)
            file.write_text(textwrap.dedent(source))
        done = pytest_in(tmp_path, request.config, "-s", "-v", "-o", "pythonpath=.", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def loops(output: str) -> list[tuple[str, str]]:
    """What the tests said: where, and whose loop ("edgeloop" or "asyncio")."""
    return [(where, module.partition(".")[0]) for where, module in re.findall(r"\[([^\]\n]+): ([\w.]+)\]", output)]


def passed(output: str) -> list[str]:
    """The names of the tests in the order in which they passed."""
    return re.findall(r"::(\S+) (?:\[.*\]\n)*PASSED", output)


def test_pytest_asyncio(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "test_on_edgeloop.py").write_text(ON_EDGELOOP)
    done = pytest_in(tmp_path, request.config, "--edgeloop")
    # The test that fails shows that assertions in asynchronous tests are looked at.
    assert "1 failed, 5 passed" in done.stdout, done.stdout + done.stderr
    assert f"edgeloop: {edgeloop.__version__}, {edgeloop.EDITION} edition, is the loop" in done.stdout


def test_anyio(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "test_with_anyio.py").write_text(WITH_ANYIO)
    done = pytest_in(tmp_path, request.config, "--edgeloop", "-k", "asyncio", "-p", "no:asyncio")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_as_documented(suite: Suite) -> None:
    start, option, *rest = command("pytest --edgeloop")
    assert start == "pytest"
    output = suite(option, *rest, test_unchanged=program("test_unchanged.py"))
    assert output.count("<class 'edgeloop.loop.EventLoop'>") == 2


EVERY_WAY = """
    import asyncio
    import unittest

    import anyio
    import pytest
    import pytest_asyncio
    from which_loop import say

    @pytest_asyncio.fixture
    async def fixture():
        say("fixture")

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def session():
        say("session")

    def test_synchronous(session):
        pass

    @pytest.mark.asyncio
    async def test_asyncio(fixture):
        say("pytest-asyncio")

    @pytest.mark.asyncio(loop_scope="session")
    async def test_in_session(session):
        say("in session")

    @pytest.mark.anyio
    async def test_anyio(anyio_backend, anyio_backend_name):
        assert anyio_backend == anyio_backend_name
        if anyio_backend == "asyncio":
            say("anyio")

    class Unittest(unittest.IsolatedAsyncioTestCase):
        async def test_unittest(self):
            say("unittest")

    async def main():
        say("run")

    def test_run():
        asyncio.run(main())

    def test_loop_by_hand():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
"""

WHERE = ["session", "fixture", "pytest-asyncio", "in session", "anyio", "unittest", "run", "run"]


def test_every_way_to_a_loop(suite: Suite) -> None:
    plain = suite(test_every_way=EVERY_WAY)
    assert loops(plain) == [(where, "asyncio") for where in WHERE]
    ours = suite("--edgeloop")
    assert loops(ours) == [(where, "edgeloop") for where in WHERE]
    # The same tests in the same order, and a session's fixture is set up once.
    assert passed(ours) == passed(plain)
    assert len(passed(ours)) == 8


def test_with_xdist(suite: Suite) -> None:
    fails_elsewhere = """
        import asyncio
        def test_loop():
            loop = asyncio.new_event_loop()
            loop.close()
            assert type(loop).__module__ == "edgeloop.loop"
    """
    assert "2 passed" in suite("--edgeloop", "-n", "2", test_a=fails_elsewhere, test_b=fails_elsewhere)


@has_the_hook
def test_a_suite_that_names_its_loops(suite: Suite) -> None:
    """Each of its names is there, and only edgeloop behind them."""
    names = """
        import asyncio

        class Special(asyncio.SelectorEventLoop):
            pass

        def pytest_asyncio_loop_factories(config, item):
            return {"plain": asyncio.SelectorEventLoop, "special": Special}
    """
    module = """
        import pytest
        from which_loop import say

        @pytest.mark.asyncio
        async def test_both():
            say("both")

        @pytest.mark.asyncio(loop_factories=["special"])
        async def test_special():
            say("special")
    """
    # The names hold in one folder of the suite; the tests of the other have none.
    files = {"a__conftest": names, "a__test_a": module, "b__test_b": module.replace('(loop_factories=["special"])', "")}
    plain = suite(**files)
    assert {loop for _, loop in loops(plain)} == {"asyncio", "conftest"}
    ours = suite("--edgeloop")
    assert [where for where, _ in loops(ours)] == ["both", "both", "special", "both", "special"]
    assert {loop for _, loop in loops(ours)} == {"edgeloop"}
    assert passed(ours) == passed(plain)


@has_the_hook
def test_loop_factories_that_are_none_are_still_refused(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("def pytest_asyncio_loop_factories(config, item):\n    return ['plain']\n")
    (tmp_path / "test_on_edgeloop.py").write_text(ON_EDGELOOP)
    done = pytest_in(tmp_path, request.config, "--edgeloop")
    assert "pytest_asyncio_loop_factories must return a non-empty mapping" in done.stdout + done.stderr


@needs_policies
def test_a_suite_with_policies_of_its_own(suite: Suite) -> None:
    module = """
        import asyncio
        import pytest
        from which_loop import say

        class Policy(asyncio.DefaultEventLoopPolicy):
            pass

        @pytest.fixture(scope="module", params=[asyncio.DefaultEventLoopPolicy, Policy])
        def event_loop_policy(request):
            return request.param()

        @pytest.mark.asyncio
        async def test_policy():
            say("policy")
    """
    assert loops(suite(test_policy=module)) == [("policy", "asyncio")] * 2
    assert loops(suite("--edgeloop")) == [("policy", "edgeloop")] * 2


@needs_policies
def test_a_suite_that_resets_the_policy(suite: Suite) -> None:
    resets = """
        import asyncio
        import pytest

        @pytest.fixture(autouse=True)
        def clean():
            yield
            asyncio.set_event_loop_policy(None)
    """
    suite(conftest=resets, test_every_way=EVERY_WAY)
    assert loops(suite("--edgeloop")) == [(where, "edgeloop") for where in WHERE]


BACKENDS = {
    "name": '"asyncio"',
    "debug": '("asyncio", {"debug": True})',
    "uvloop": '("asyncio", {"debug": True, "use_uvloop": True})',
    "factory": '("asyncio", {"loop_factory": asyncio.SelectorEventLoop})',
}


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=list(BACKENDS))
def test_a_suite_with_an_anyio_backend_of_its_own(suite: Suite, backend: str) -> None:
    """Also where it is a loop that isn't even installed; the other options stay."""
    module = f"""
        import asyncio
        import pytest
        from which_loop import say

        @pytest.fixture(scope="module")
        def anyio_backend():
            return {backend}

        @pytest.fixture
        async def fixture():
            say("fixture")

        @pytest.mark.anyio
        async def test_backend(fixture, anyio_backend, anyio_backend_name, anyio_backend_options):
            assert anyio_backend_name == "asyncio"
            assert asyncio.get_running_loop().get_debug() is anyio_backend_options.get("debug", False)
            say("anyio")
    """
    assert loops(suite("--edgeloop", "-p", "no:asyncio", test_backend=module)) == [
        ("fixture", "edgeloop"),
        ("anyio", "edgeloop"),
    ]


def test_anyio_s_other_backend_is_left_alone(suite: Suite) -> None:
    module = """
        import pytest
        import sniffio

        @pytest.fixture(params=["trio", ("trio", {"restrict_keyboard_interrupt_to_checkpoints": True})])
        def anyio_backend(request):
            return request.param

        @pytest.mark.anyio
        async def test_trio(anyio_backend_options):
            assert sniffio.current_async_library() == "trio"
            print(anyio_backend_options)
    """
    output = suite("--edgeloop", "-p", "no:asyncio", test_trio=module)
    assert "{'restrict_keyboard_interrupt_to_checkpoints': True}" in output


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
