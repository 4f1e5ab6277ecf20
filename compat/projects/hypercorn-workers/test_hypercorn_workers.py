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
from workers import scenarios
from workers.served import Served, served

PROGRAM = "from workers.served_app import asgi as app\n"
if os.environ["EDGELOOP_COMPAT_LOOP"] == "edgeloop":
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


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Served]:
    """With one worker process: of several, hypercorn ends the others at once when the first has ended gracefully."""
    with hypercorn(tmp_path, 1) as server:
        yield server


def test_every_worker_answers(server: Served) -> None:
    scenarios.every_worker_answers(server)


def test_requests_leave_no_descriptors(server: Served) -> None:
    scenarios.requests_leave_no_descriptors(server)


def test_restart_under_steady_requests(server: Served) -> None:
    """All workers end, then new ones begin; what arrives in between waits in the listener's backlog."""
    scenarios.restart_under_steady_requests(server)


def test_killed_worker_ends_the_server(server: Served) -> None:
    """hypercorn replaces no worker that has failed: all of them end."""
    victim, _ = server.answering(2)
    os.kill(victim, signal.SIGKILL)
    server.wait()


def test_restart_finishes_a_request_in_flight(server: Served) -> None:
    scenarios.request_in_flight_is_finished(server, signal.SIGHUP)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_end_finishes_a_request_in_flight(alone: Served, number: signal.Signals) -> None:
    scenarios.request_in_flight_is_finished(alone, number)


def test_end_while_requests_come(alone: Served) -> None:
    scenarios.end_while_requests_come(alone)
