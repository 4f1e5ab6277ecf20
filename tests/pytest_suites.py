"""Test modules that notice which loop they run on, and pytest as a process of its own that runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from example_process import environment

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
