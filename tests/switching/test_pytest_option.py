"""``pytest --edgeloop``: suites that know nothing of edgeloop run on it, unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_suites import ON_EDGELOOP, PYTEST_ASYNCIO, WITH_ANYIO, Suite, loops, passed, pytest_in, suite_in
from switching_on_page import TESTING, command, needs_policies, program

import edgeloop

pytestmark = pytest.mark.edgeloop_only

has_the_hook = pytest.mark.skipif(PYTEST_ASYNCIO < (1, 4), reason="the hook came with pytest-asyncio 1.4")


@pytest.fixture
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> Suite:
    return suite_in(tmp_path, request.config)


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
    start, option, *rest = command("pytest --edgeloop", TESTING)
    assert start == "pytest"
    output = suite(option, *rest, test_unchanged=program("test_unchanged.py", TESTING))
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
