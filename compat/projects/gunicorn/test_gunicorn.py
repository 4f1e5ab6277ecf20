"""gunicorn's master with each of the asynchronous workers: reload, workers that are killed, more and fewer, the end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workers.scenarios import CountedWorkers
from workers.served import ON_EDGELOOP, Served, eventually, served

# How the loop is chosen: worker class in the control, on edgeloop, application.
WORKERS = {
    "aiohttp": ("aiohttp.GunicornWebWorker", "edgeloop.gunicorn.AiohttpWorker", "aiohttp_application"),
    "uvicorn": ("uvicorn_worker.UvicornWorker", "edgeloop.gunicorn.UvicornWorker", "asgi"),
    "asgi": ("asgi", "edgeloop.gunicorn.ASGIWorker", "asgi"),
    # By edgeloop.install() in the configuration file: then the master's loop, which serves its control socket in a
    # thread, is an edgeloop too, and is stopped and started again around every fork.
    "configuration": ("aiohttp.GunicornWebWorker", "aiohttp.GunicornWebWorker", "aiohttp_application"),
}


def command(worker: str, directory: Path, *options: str) -> list[str]:
    control, edgeloop, application = WORKERS[worker]
    install = ON_EDGELOOP and worker == "configuration"
    (directory / "gunicorn.conf.py").write_text("import edgeloop\nedgeloop.install()\n" if install else "")
    return [
        *("gunicorn", "--workers", "2", "--bind", "127.0.0.1:PORT"),
        # Less than served.LIMIT: aiohttp's worker may wait that long for a client that keeps its connection.
        *("--control-socket", "control", "--graceful-timeout", "10"),
        *("--worker-class", edgeloop if ON_EDGELOOP else control),
        *options,
        f"workers.served_app:{application}",
    ]


@pytest.fixture(params=WORKERS)
def worker(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def server(worker: str, tmp_path: Path) -> Iterator[Served]:
    with served(*command(worker, tmp_path), directory=tmp_path) as server:
        server.never = ("Traceback", "did not stop before fork", "WORKER TIMEOUT")
        eventually(lambda: "Control socket listening" in server.log(), "a control socket", server.log)
        yield server


@pytest.fixture
def limited(worker: str, tmp_path: Path) -> Iterator[Served]:
    options = ("--max-requests", "150", "--max-requests-jitter", "50")
    with served(*command(worker, tmp_path, *options), directory=tmp_path) as server:
        yield server


class TestGunicorn(CountedWorkers):
    @pytest.fixture(params=[signal.SIGTERM])
    def ends(self, request: pytest.FixtureRequest) -> Any:
        """Upon SIGINT its workers end at once."""
        return request.param
