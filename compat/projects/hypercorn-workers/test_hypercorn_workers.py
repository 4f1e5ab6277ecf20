"""hypercorn with several worker processes: restart, a worker that is killed, the end.

Its command knows a fixed list of loops and starts each worker as a new interpreter, which imports the application before
it makes its loop. So the application's module is where edgeloop is switched on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from workers.scenarios import Workers
from workers.served import ON_EDGELOOP, Served, served

PROGRAM = "from workers.served_app import asgi as app\n"
if ON_EDGELOOP:
    PROGRAM += "import edgeloop\nedgeloop.install()\n"


@contextmanager
def hypercorn(directory: Path, workers: int) -> Iterator[Served]:
    (directory / "program.py").write_text(PROGRAM)
    command = ("hypercorn", "--workers", str(workers), "--bind", "127.0.0.1:PORT", "program:app")
    with served(*command, directory=directory) as server:
        server.never = ("Traceback", "ERROR")
        server.workers = workers
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with hypercorn(tmp_path, 2) as server:
        yield server


class TestHypercorn(Workers):
    """Upon SIGHUP all workers end, then new ones begin; what arrives in between waits in the listener's backlog."""

    @pytest.fixture
    def last(self, tmp_path: Path) -> Iterator[Served]:
        """With one worker process: of several, hypercorn ends the others at once when the first has ended gracefully."""
        with hypercorn(tmp_path, 1) as server:
            yield server

    def test_killed_worker_ends_the_server(self, server: Served) -> None:
        """hypercorn replaces no worker that has failed: all of them end."""
        victim, _ = server.answering(2)
        os.kill(victim, signal.SIGKILL)
        server.wait()
