"""The examples of servers with limits, on a port that somebody else has."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from example_process import EXAMPLES, environment

pytestmark = pytest.mark.edgeloop_only


@pytest.mark.parametrize("script", ["calculator.py", "static_pages.py", "thread_pool_server.py", "workers.py"])
def test_a_port_that_is_taken_ends_the_example_with_the_reason(
    pytestconfig: pytest.Config, tmp_path: Path, script: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / script), "--port", str(holder.getsockname()[1])],
            env=environment(pytestconfig, tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr.lower()
    assert done.stdout == ""
