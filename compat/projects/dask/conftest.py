"""A cluster of processes, started as people start one: ``dask scheduler`` and ``dask worker``."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import on_loop
import pytest
from distributed import Client


class Cluster:
    """A scheduler and its workers, each a process of its own. What they say is kept in files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler_file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", self.scheduler_file
        )

    def start(self, *command: str | Path) -> subprocess.Popen[bytes]:
        # python -m puts the folder these tests stand in on the path of the processes, so they find the module on_loop.
        with open(self.folder / f"{len(self.processes)}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command], stdout=log, stderr=log, cwd=Path(__file__).parent
            )
        self.processes.append(process)
        return process

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        return self.start(
            *("worker", "--scheduler-file", self.scheduler_file, "--host", "127.0.0.1", "--nthreads", "1"),
            *("--no-dashboard", "--local-directory", self.folder, *options),
        )

    def start_workers(self, number: int) -> list[subprocess.Popen[bytes]]:
        """Workers that nobody starts again."""
        return [self.start_worker("--no-nanny") for _ in range(number)]

    @property
    def address(self) -> str:
        """The scheduler's; waits until it listens."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.scheduler.poll() is None:
            try:
                return str(json.loads(self.scheduler_file.read_text())["address"])
            except (FileNotFoundError, json.JSONDecodeError):
                time.sleep(0.05)
        raise RuntimeError(f"the scheduler did not start:\n{self.said()}")

    def with_client(self, use: Callable[[Client], Awaitable[None]], workers: int = 2) -> None:
        """Run ``use`` with a client of the cluster, when its workers are there, on the default loop."""

        async def main() -> None:
            assert on_loop.is_expected(on_loop.loop_class())
            async with Client(self.address, asynchronous=True) as client:
                await client.wait_for_workers(workers, timeout=60)
                await use(client)

        try:
            asyncio.run(main())
        except BaseException:
            print(self.said())
            raise

    def said(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def end(self) -> None:
        for process in reversed(self.processes):  # the scheduler last: the others take leave of it
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler of the test's own, with no worker yet."""
    running = Cluster(tmp_path)
    try:
        yield running
    finally:
        running.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers for all tests of a module: starting them takes longer than most of these."""
    running = Cluster(tmp_path_factory.mktemp("shared"))
    try:
        running.start_workers(2)
        yield running
    finally:
        running.end()
