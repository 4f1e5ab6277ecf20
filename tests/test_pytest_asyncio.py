"""pytest-asyncio, and anyio's pytest plugin, run test modules on edgeloop when asked as the documentation says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from example_process import environment
from switching_on_page import needs_policies, program

pytestmark = pytest.mark.edgeloop_only

PYTEST_ASYNCIO = tuple(int(part) for part in re.findall(r"\d+", version("pytest-asyncio"))[:2])

# Passes only on edgeloop, with each kind of thing that pytest-asyncio runs: tests, fixtures, one loop for many tests.
ON_EDGELOOP = """
import asyncio
import edgeloop
import pytest
import pytest_asyncio

@pytest_asyncio.fixture
async def server():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()

@pytest.mark.asyncio
async def test_loop():
    assert isinstance(asyncio.get_running_loop(), edgeloop.EventLoop)

@pytest.mark.asyncio
@pytest.mark.parametrize("line", [b"one\\n", b"two\\n"])
async def test_server_of_a_fixture(server, line):
    reader, writer = await asyncio.open_connection(*server)
    writer.write(line)
    assert await reader.read() == line
    writer.close()

@pytest.mark.asyncio(loop_scope="module")
class TestOneLoop:
    async def test_first(self):
        type(self).loop = asyncio.get_running_loop()

    async def test_second(self):
        assert self.loop is asyncio.get_running_loop()
        assert isinstance(self.loop, edgeloop.EventLoop)

@pytest.mark.asyncio
async def test_that_fails():
    await asyncio.sleep(0)
    assert "edgeloop" == "something else"
"""

WITH_ANYIO = """
import asyncio
import anyio
import edgeloop
import pytest

@pytest.fixture
async def number():
    await anyio.sleep(0)
    yield 5

@pytest.mark.anyio
async def test_loop(number):
    assert number == 5
    assert isinstance(asyncio.get_running_loop(), edgeloop.EventLoop)
"""


def pytest_in(directory: Path, config: pytest.Config, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(directory), *arguments],
        cwd=directory,
        env=environment(config, directory),
        capture_output=True,
        text=True,
        timeout=120,
    )


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
    (tmp_path / "conftest.py").write_text(program(f"conftest.py with the {way}"))
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
    (tmp_path / "conftest.py").write_text(program("conftest.py for anyio"))
    (tmp_path / "test_with_anyio.py").write_text(WITH_ANYIO)
    done = pytest_in(tmp_path, request.config, "-p", "no:asyncio")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
