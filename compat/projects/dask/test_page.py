"""What stands on dask's page, run as it stands there but for the ports."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgeloop_compat_pages import command, program

EDGELOOP = "<class 'edgeloop.loop.EventLoop'>"


class Page:
    """The page's programs and commands, with a port of this run instead of the page's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as one:
            self.port = str(one.getsockname()[1])
        self.processes: list[subprocess.Popen[bytes]] = []

    def write(self, name: str) -> None:
        (self.folder / name).write_text(program(name).replace("8786", self.port))

    def start(self, start: str) -> None:
        python, *words = command(start)
        assert python == "python"
        words = [word.replace("8786", self.port) for word in words]
        self.processes.append(subprocess.Popen([sys.executable, *words], cwd=self.folder))

    def run(self, name: str) -> str:
        self.write(name)
        done = subprocess.run([sys.executable, name], cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    one = Page(tmp_path)
    try:
        yield one
    finally:
        for process in reversed(one.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.parametrize("worker", ["python -m edgeloop -m dask worker", "python -m dask worker"])
def test_scheduler_worker_and_client(page: Page, worker: str) -> None:
    page.write("on_edgeloop.py")
    page.start("python -m edgeloop -m dask scheduler")
    page.start(worker)
    assert page.run("dask_client.py") == f'4950\n{{"{EDGELOOP}"}}\n'


def test_a_local_cluster(page: Page) -> None:
    assert page.run("dask_local.py") == f"4950\n{EDGELOOP}\n"
