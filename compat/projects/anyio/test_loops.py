"""Which loop the tests of anyio's suite run on, by each of the ways that the suite has to one."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

_SUITES = Path(__file__).parents[1] / "tests" / "conftest.py"


def _conftest() -> Any:
    spec = importlib.util.spec_from_file_location("conftest_of_the_suite", _SUITES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SUITE = _conftest()
BACKENDS = [parameter for parameter in SUITE.asyncio_params if not parameter.marks]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def is_the_one_under_test(loop: object) -> bool:
    return type(loop).__module__.partition(".")[0] == os.environ["EDGELOOP_COMPAT_LOOP"]


def test_the_suite_has_the_backends_we_know() -> None:
    assert {parameter.id for parameter in BACKENDS} <= {"asyncio", "asyncio+eager"}
    assert "asyncio" in {parameter.id for parameter in BACKENDS}


async def running() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@pytest.mark.anyio
async def test_the_plugin(anyio_backend: Any) -> None:
    loop = asyncio.get_running_loop()
    assert is_the_one_under_test(loop)
    assert loop.get_debug()
    assert (loop.get_task_factory() is not None) == ("loop_factory" in anyio_backend[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_run(backend: Any) -> None:
    assert is_the_one_under_test(anyio.run(running, backend=backend[0], backend_options=backend[1]))


def test_run_without_options() -> None:
    assert is_the_one_under_test(anyio.run(running))


def test_a_portal() -> None:
    with anyio.from_thread.start_blocking_portal() as portal:
        assert is_the_one_under_test(portal.call(running))


def test_from_a_worker_thread() -> None:
    async def main() -> asyncio.AbstractEventLoop:
        return await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(running))

    assert is_the_one_under_test(anyio.run(main))


def test_the_fixture_with_a_loop() -> None:
    wrapped = getattr(SUITE.asyncio_event_loop, "__wrapped__", None) or SUITE.asyncio_event_loop._get_wrapped_function()
    steps = wrapped()
    assert is_the_one_under_test(next(steps))
    assert next(steps, None) is None
