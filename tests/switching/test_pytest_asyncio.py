"""pytest-asyncio, and anyio's pytest plugin, run test modules on edgeloop when asked as the documentation says."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_suites import ON_EDGELOOP, PYTEST_ASYNCIO, WITH_ANYIO, pytest_in
from switching_on_page import TESTING, needs_policies, program

pytestmark = pytest.mark.edgeloop_only


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(
            "hook",
            marks=pytest.mark.skipif(PYTEST_ASYNCIO < (1, 4), reason="the hook came with pytest-asyncio 1.4"),
        ),
        pytest.param("fixture", marks=needs_policies),
    ],
)
def test_pytest_asyncio(request: pytest.FixtureRequest, tmp_path: Path, way: str) -> None:
    (tmp_path / "conftest.py").write_text(program(f"conftest.py with the {way}", TESTING))
    (tmp_path / "test_on_edgeloop.py").write_text(ON_EDGELOOP)
    done = pytest_in(tmp_path, request.config)
    # The test that fails shows that assertions in asynchronous tests are looked at.
    assert "1 failed, 5 passed" in done.stdout, done.stdout + done.stderr
    assert "assert 'edgeloop' == 'something else'" in done.stdout


def test_without_asking_it_is_not_edgeloop(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The control: the same module on the standard loop fails where it asks for the loop."""
    (tmp_path / "test_on_edgeloop.py").write_text(ON_EDGELOOP)
    done = pytest_in(tmp_path, request.config)
    assert "3 failed, 3 passed" in done.stdout, done.stdout + done.stderr


def test_anyio_plugin(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(program("conftest.py for anyio", TESTING))
    (tmp_path / "test_with_anyio.py").write_text(WITH_ANYIO)
    done = pytest_in(tmp_path, request.config, "-p", "no:asyncio")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
