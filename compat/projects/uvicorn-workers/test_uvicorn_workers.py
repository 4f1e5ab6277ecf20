"""uvicorn with several worker processes, and with --reload: restart, workers that are killed, more and fewer, the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from workers import scenarios
from workers.served import Served, eventually, expected_loop, served

ON_EDGELOOP = os.environ["EDGELOOP_COMPAT_LOOP"] == "edgeloop"
LOOP = ("--loop", "edgeloop:new_event_loop" if ON_EDGELOOP else "asyncio")
NEVER = ("Traceback", "ERROR")


@pytest.fixture(params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    command = ("uvicorn", *LOOP, "--http", request.param, "--workers", "2", "--port", "PORT", "workers.served_app:asgi")
    with served(*command, directory=tmp_path) as server:
        server.never = NEVER
        yield server


def test_every_worker_answers(server: Served) -> None:
    scenarios.every_worker_answers(server)


def test_requests_leave_no_descriptors(server: Served) -> None:
    scenarios.requests_leave_no_descriptors(server)


def test_restart_under_steady_requests(server: Served) -> None:
    scenarios.restart_under_steady_requests(server)


def test_killed_worker_is_replaced(server: Served) -> None:
    scenarios.killed_worker_is_replaced(server)


def test_more_and_fewer_workers(server: Served) -> None:
    scenarios.more_and_fewer_workers(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_request_in_flight_is_finished(server: Served, number: signal.Signals) -> None:
    scenarios.request_in_flight_is_finished(server, number)


def test_end_while_requests_come(server: Served) -> None:
    scenarios.end_while_requests_come(server)


def test_workers_that_have_served_enough_are_replaced(tmp_path: Path) -> None:
    command = (
        "uvicorn",
        *LOOP,
        "--workers",
        "2",
        "--limit-max-requests",
        "150",
        "--port",
        "PORT",
        "workers.served_app:asgi",
    )
    with served(*command, directory=tmp_path) as server:
        server.never = NEVER
        scenarios.workers_that_have_served_enough_are_replaced(server)


PROGRAM = """
from workers import served_app

async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/version":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"VERSION"})
    else:
        await served_app.asgi(scope, receive, send)
"""


def test_reload_when_the_program_changes(tmp_path: Path) -> None:
    """``--reload``: one worker, which is replaced whenever a file of the program has changed."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("VERSION", "1"))
    with served("uvicorn", *LOOP, "--reload", "--port", "PORT", "program:app", directory=tmp_path) as server:
        server.never = NEVER
        seen = set()
        for version in range(1, 4):
            program.write_text(PROGRAM.replace("VERSION", str(version)))

            def is_new(version: int = version) -> bool:
                return server.answers() and bool(server.ask("/version") == version)

            eventually(is_new, f"version {version}", server.log)
            facts = server.ask()
            assert facts["loop"] == expected_loop()
            seen.add(facts["pid"])
        assert len(seen) == 3
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        server.check_log()
