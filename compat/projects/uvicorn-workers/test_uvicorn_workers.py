"""uvicorn with several worker processes, and with --reload: restart, workers that are killed, more and fewer, the end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from workers.scenarios import CountedWorkers
from workers.served import ON_EDGELOOP, Served, eventually, expected_loop, served

LOOP = ("--loop", "edgeloop:new_event_loop" if ON_EDGELOOP else "asyncio")
NEVER = ("Traceback", "ERROR")


def uvicorn(directory: Path, *options: str) -> AbstractContextManager[Served]:
    return served("uvicorn", *LOOP, *options, "--port", "PORT", directory=directory)


@pytest.fixture(params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    with uvicorn(tmp_path, "--http", request.param, "--workers", "2", "workers.served_app:asgi") as server:
        server.never = NEVER
        yield server


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Served]:
    with uvicorn(tmp_path, "--workers", "2", "--limit-max-requests", "150", "workers.served_app:asgi") as server:
        server.never = NEVER
        yield server


class TestUvicorn(CountedWorkers):
    pass


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
    with uvicorn(tmp_path, "--reload", "program:app") as server:
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
