"""``pytest --edgeloop`` where a suite has a fixture ``event_loop``, as pytest-asyncio's documentation had it for years."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import asyncio
import pytest
import pytest_asyncio

{fixture}

@pytest_asyncio.fixture
async def served():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()

@pytest.mark.asyncio
async def test_loop(served):
    reader, writer = await asyncio.open_connection(*served)
    assert await reader.read() == b""
    writer.close()
    assert type(asyncio.get_running_loop()).__module__ == "{module}"

@pytest.mark.asyncio
async def test_again(event_loop):
    assert event_loop is asyncio.get_running_loop()
    assert type(event_loop).__module__ == "{module}"
"""

FIXTURES = {
    "pytest-asyncio's": "",
    "new_event_loop": """
@pytest.fixture(scope="session")
def event_loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()
""",
    "the policy's": """
@pytest.fixture(scope="module")
def event_loop():
    loop = asyncio.get_event_loop_policy().new_event_loop()
    yield loop
    loop.close()
""",
}


@pytest.mark.parametrize("option", [[], ["--edgeloop"]], ids=["plain", "edgeloop"])
@pytest.mark.parametrize("fixture", FIXTURES.values(), ids=list(FIXTURES))
def test_event_loop(tmp_path: Path, fixture: str, option: list[str]) -> None:
    module = "edgeloop.loop" if option else "asyncio.unix_events"
    (tmp_path / "test_suite.py").write_text(SUITE.format(fixture=fixture, module=module))
    environment = {name: value for name, value in os.environ.items() if name != "EDGELOOP_COMPAT_LOOP"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *option, "test_suite.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert ("edgeloop: " in done.stdout) is bool(option)
