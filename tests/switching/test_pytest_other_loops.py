"""``pytest --edgeloop`` fails where what it promises is not so: another loop ran that was not meant by the test."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from example_process import environment
from pytest_suites import PYTEST_ASYNCIO, pytest_in
from switching_on_page import needs_policies

pytestmark = pytest.mark.edgeloop_only

Suite = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> Suite:
    def run(*arguments: str, **modules: str) -> subprocess.CompletedProcess[str]:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return pytest_in(tmp_path, request.config, "-v", "--edgeloop", *arguments)

    return run


# Put in by a fixture of the session, after the option has been looked at for the first test.
POLICY = """
    import asyncio
    import pytest

    class Policy(asyncio.DefaultEventLoopPolicy):
        pass

    @pytest.fixture(scope="session", autouse=True)
    def policy():
        asyncio.set_event_loop_policy(Policy())
"""

START = """
    import asyncio
    import unittest
    import pytest

    async def main():
        pass
"""

TESTS = {
    "anyio": """
    @pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_it():
        pass
    """,
    "unittest": """
    class Test(unittest.IsolatedAsyncioTestCase):
        async def test_it(self):
            pass
    """,
    "run": """
    def test_it():
        asyncio.run(main())
    """,
    "by hand": """
    def test_it():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    """,
    "in a thread": """
    def test_it():
        import threading
        thread = threading.Thread(target=asyncio.run, args=(main(),))
        thread.start()
        thread.join()
    """,
}


@needs_policies
@pytest.mark.parametrize("test", TESTS)
def test_a_policy_that_a_conftest_put_in_fails_the_test_that_ran_with_it(suite: Suite, test: str) -> None:
    done = suite(conftest=POLICY, test_a=f"{START}{TESTS[test]}")
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout
    assert "this ran on asyncio.unix_events._UnixSelectorEventLoop, not on edgeloop" in done.stdout
    assert "conftest.Policy was put in with asyncio.set_event_loop_policy" in done.stdout


@needs_policies
def test_a_policy_that_a_conftest_puts_in_when_it_is_imported_is_replaced(suite: Suite) -> None:
    conftest = POLICY.replace(
        "@pytest.fixture", "asyncio.set_event_loop_policy(Policy())\n\n    @pytest.fixture"
    ).replace(", autouse=True", "")
    module = "".join(source.replace("test_it", f"test_{number}") for number, source in enumerate(TESTS.values()))
    done = suite("-W", "ignore", conftest=conftest, test_a=START + module)
    assert "5 passed" in done.stdout, done.stdout


def test_a_test_that_fails_by_itself_shows_its_own_failure_and_the_loop(suite: Suite) -> None:
    # A plugin of the suite that runs tests on a loop of its own choice.
    conftest = """
        pytest_plugins = ["driver"]
    """
    driver = """
        import asyncio
        import inspect
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            if inspect.iscoroutinefunction(pyfuncitem.obj):
                with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                    runner.run(pyfuncitem.obj())
                return True
    """
    module = """
        async def test_passes():
            pass

        async def test_fails():
            assert "its own" == "failure"
    """
    done = suite("-p", "no:asyncio", "-p", "no:anyio", conftest=conftest, driver=driver, test_a=module)
    assert "2 failed" in done.stdout, done.stdout
    assert "assert 'its own' == 'failure'" in done.stdout
    assert done.stdout.count("the suite chose that loop for driver") >= 2


@pytest.mark.skipif(PYTEST_ASYNCIO >= (1, 0), reason="the fixture event_loop went with pytest-asyncio 1.0")
def test_an_event_loop_fixture_of_the_suite_fails(suite: Suite) -> None:
    conftest = """
        import asyncio
        import pytest

        @pytest.fixture
        def event_loop():
            loop = asyncio.SelectorEventLoop()
            yield loop
            loop.close()
    """
    module = f"{START}\n    @pytest.mark.asyncio\n    async def test_it():\n        pass\n"
    assert "not on edgeloop" in suite(conftest=conftest, test_a=module).stdout


@needs_policies
def test_a_test_that_was_expected_to_fail_does_not_hide_it(suite: Suite) -> None:
    module = f"{START}\n    @pytest.mark.xfail\n    def test_it():\n        asyncio.run(main())\n"
    done = suite(conftest=POLICY, test_a=module)
    assert "1 xfailed" in done.stdout
    assert done.returncode == 1
    assert "another loop ran" in done.stdout


MEANT = """
    class Loop(asyncio.SelectorEventLoop):
        pass

    def test_a_class_it_names():
        loop = Loop()
        loop.run_until_complete(main())
        loop.close()

    def test_a_factory_it_hands_over():
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(main())

    def test_one_for_anyio():
        import anyio
        anyio.run(main, backend_options={"loop_factory": Loop})

    @pytest.fixture
    def loop():
        loop = Loop()
        yield loop
        loop.close()

    def test_a_fixture_it_runs_itself(loop):
        loop.run_until_complete(main())
"""

MEANT_A_POLICY = """
    def test_a_policy_it_sets():
        asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
        asyncio.run(main())
        asyncio.set_event_loop_policy(None)
        asyncio.run(main())
"""


def test_a_loop_that_a_test_means_is_its_own_affair(suite: Suite) -> None:
    done = suite(test_a=START + MEANT)
    assert "4 passed" in done.stdout, done.stdout
    assert "another loop" not in done.stdout


@needs_policies
def test_a_policy_that_a_test_sets_is_its_own_affair(suite: Suite) -> None:
    done = suite("-W", "ignore", test_a=START + MEANT_A_POLICY)
    assert "1 passed" in done.stdout, done.stdout


def test_a_session_within_a_test_is_its_own_affair(suite: Suite) -> None:
    """A plugin's tests run pytest in their own process; that one was not asked for edgeloop."""
    module = '''
        pytest_plugins = ["pytester"]

        def test_plugin(pytester):
            pytester.makeconftest("""
                import asyncio
                import inspect
                import pytest

                @pytest.hookimpl(tryfirst=True)
                def pytest_pyfunc_call(pyfuncitem):
                    if inspect.iscoroutinefunction(pyfuncitem.obj):
                        asyncio.SelectorEventLoop().run_until_complete(pyfuncitem.obj())
                        return True
            """)
            pytester.makepyfile("async def test_it(): pass")
            pytester.runpytest_inprocess("-W", "ignore").assert_outcomes(passed=1)
    '''
    done = suite(test_a=module)
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.skipif(sys.version_info < (3, 13), reason="IsolatedAsyncioTestCase.loop_factory came with Python 3.13")
def test_the_loop_factory_of_a_test_case_is_replaced(suite: Suite) -> None:
    module = f"""{START}
    class Test(unittest.IsolatedAsyncioTestCase):
        loop_factory = asyncio.SelectorEventLoop

        async def test_it(self):
            assert type(asyncio.get_running_loop()).__module__ == "edgeloop.loop"

    class TestAgain(Test):
        pass
    """
    assert "2 passed" in suite(test_a=module).stdout


LEAVES_IT = """
import asyncio
import pytest

before = asyncio._set_running_loop, asyncio.events._set_running_loop, asyncio.new_event_loop
assert pytest.main(["-p", "no:cacheprovider", "--edgeloop", "test_nothing.py"]) == 0
assert (asyncio._set_running_loop, asyncio.events._set_running_loop, asyncio.new_event_loop) == before
"""


def test_the_session_leaves_asyncio_as_it_was(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    env = environment(request.config, tmp_path)
    subprocess.run([sys.executable, "-c", LEAVES_IT], cwd=tmp_path, env=env, check=True, timeout=120)
