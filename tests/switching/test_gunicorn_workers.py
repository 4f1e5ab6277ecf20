"""``edgeloop.gunicorn``: its worker classes under gunicorn itself, in the edition under test."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from example_process import environment, eventually

pytestmark = pytest.mark.edgeloop_only

APPLICATIONS = """
import asyncio
import json
import os

import edgeloop


def facts():
    return json.dumps({"pid": os.getpid(), "loop": str(type(asyncio.get_running_loop())), "edition": edgeloop.EDITION})


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": facts().encode()})


async def aiohttp_application():
    from aiohttp import web

    async def answer(request):
        return web.Response(text=facts())

    application = web.Application()
    application.add_routes([web.get("/", answer)])
    return application
"""

WORKERS = {"AiohttpWorker": "aiohttp_application", "UvicornWorker": "asgi", "ASGIWorker": "asgi"}


class Gunicorn:
    """A gunicorn that listens."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, url: str) -> None:
        self.process = process
        self.log = log
        self.url = url

    def ask(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url, timeout=30) as answer:
            facts: dict[str, Any] = json.load(answer)
        return facts

    def stop(self) -> str:
        """End it as its user would; it must end well. What it has printed."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        log = self.log.read_text()
        assert code == 0, log
        assert "Traceback" not in log, log
        return log


@contextmanager
def gunicorn(config: pytest.Config, directory: Path, worker: str, *options: str) -> Iterator[Gunicorn]:
    (directory / "applications.py").write_text(APPLICATIONS)
    log = directory / "log"
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", *options]
    command += ["--worker-class", f"edgeloop.gunicorn.{worker}", f"applications:{WORKERS[worker]}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment(config, directory), stdout=output, stderr=output
        )
    try:
        eventually(lambda: process.poll() is not None or "Listening at" in log.read_text())
        address = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        assert address, log.read_text()
        yield Gunicorn(process, log, address[0])
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


@pytest.mark.parametrize("worker", WORKERS)
def test_workers_answer_on_edgeloop(request: pytest.FixtureRequest, tmp_path: Path, worker: str) -> None:
    import edgeloop

    with gunicorn(request.config, tmp_path, worker, "--workers", "2") as server:
        pids: set[int] = set()

        def both_have_answered() -> bool:
            facts = server.ask()
            assert facts["loop"] == str(edgeloop.EventLoop)
            assert facts["edition"] == edgeloop.EDITION
            pids.add(int(facts["pid"]))
            return len(pids) == 2

        assert eventually(both_have_answered)
        assert server.process.pid not in pids
        log = server.stop()
    assert f"Using worker: edgeloop.gunicorn.{worker}" in log


# A loop in the master before it forks, as an application that makes one at its import leaves there with --preload.
# aiohttp's worker begins by closing the current loop; the master's own must stay whole (rule 11).
LOOP_IN_THE_MASTER = """
import asyncio
import threading

import edgeloop

preload_app = True
kept = edgeloop.new_event_loop()
asyncio.set_event_loop(kept)


async def hear_from_a_thread():
    heard = asyncio.get_running_loop().create_future()
    thread = threading.Thread(target=kept.call_soon_threadsafe, args=(heard.set_result, None))
    thread.start()
    await asyncio.wait_for(heard, 10)
    thread.join()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    server.close()
    await server.wait_closed()


def child_exit(server, worker):
    kept.run_until_complete(hear_from_a_thread())
    print("the master's loop works", flush=True)
"""


def test_worker_closes_the_loop_it_has_inherited(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(LOOP_IN_THE_MASTER)
    with gunicorn(request.config, tmp_path, "AiohttpWorker") as server:
        pid = int(server.ask()["pid"])
        subprocess.run(["kill", str(pid)], check=True)
        assert eventually(lambda: "the master's loop works" in server.log.read_text()), server.log.read_text()
        assert int(server.ask()["pid"]) != pid
        server.stop()


def python(request: pytest.FixtureRequest, directory: Path, program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(request.config, directory),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_module_needs_none_of_the_packages(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    program = (
        "import sys, edgeloop.gunicorn; print({'gunicorn', 'aiohttp', 'uvicorn', 'uvicorn_worker'} & {*sys.modules})"
    )
    assert python(request, tmp_path, program) == "set()\n"


@pytest.mark.parametrize(
    ("worker", "package"),
    [("AiohttpWorker", "aiohttp"), ("UvicornWorker", "uvicorn_worker"), ("ASGIWorker", "gunicorn")],
)
def test_package_that_is_missing(request: pytest.FixtureRequest, tmp_path: Path, worker: str, package: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"  # what makes an import of it fail
        "import edgeloop.gunicorn\n"
        f"try: edgeloop.gunicorn.{worker}\n"
        f"except ImportError as error: print(error.name.partition('.')[0])"
    )
    assert python(request, tmp_path, program) == f"{package}\n"


def test_names() -> None:
    import aiohttp.worker

    import edgeloop.gunicorn as workers

    assert workers.AiohttpWorker is workers.AiohttpWorker
    assert issubclass(workers.AiohttpWorker, aiohttp.worker.GunicornWebWorker)
    for name in WORKERS:
        assert (
            f"{getattr(workers, name).__module__}.{getattr(workers, name).__qualname__}" == f"edgeloop.gunicorn.{name}"
        )
    with pytest.raises(AttributeError, match="no attribute 'Worker'"):
        workers.Worker  # noqa: B018
