"""Test modules that notice which loop they run on, and pytest as a process of its own that runs them."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
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

# Any suite can ask what its loop is; the answer is printed so that the control can be told from edgeloop.
WHICH_LOOP = """
import asyncio

def say(where):
    print(f"[{where}: {type(asyncio.get_running_loop()).__module__}]")
"""

Suite = Callable[..., str]


def pytest_in(directory: Path, config: pytest.Config, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(directory), *arguments],
        cwd=directory,
        env=environment(config, directory),
        capture_output=True,
        text=True,
        timeout=120,
    )


def suite_in(directory: Path, config: pytest.Config) -> Suite:
    """``suite("--edgeloop", test_a="source", ...)`` writes the modules, runs pytest in their folder and returns what it
    prints. Every test must pass."""

    def run(*arguments: str, **modules: str) -> str:
        for name, source in {"which_loop": WHICH_LOOP, **modules}.items():
            file = directory / (name.replace("__", "/") + ".py")
            file.parent.mkdir(exist_ok=True)
            file.write_text(textwrap.dedent(source))
        done = pytest_in(directory, config, "-s", "-v", "-o", "pythonpath=.", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def loops(output: str) -> list[tuple[str, str]]:
    """What the tests said: where, and whose loop ("edgeloop" or "asyncio")."""
    return [(where, module.partition(".")[0]) for where, module in re.findall(r"\[([^\]\n]+): ([\w.]+)\]", output)]


def passed(output: str) -> list[str]:
    """The names of the tests in the order in which they passed."""
    return re.findall(r"::(\S+) (?:\[.*\]\n)*PASSED", output)
