"""Processes of a cluster that are killed, restarted or go away, and what becomes of the work."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import on_loop
from conftest import Cluster
from distributed import Client


def test_every_process_runs_the_loop_under_test(cluster: Cluster) -> None:
    cluster.start_worker("--no-nanny")
    cluster.start_worker("--nanny")

    async def use(client: Client) -> None:
        classes = [await client.run_on_scheduler(on_loop.in_scheduler)]
        classes += (await client.run(on_loop.in_worker)).values()
        assert len(classes) == 3
        assert all(map(on_loop.is_expected, classes)), classes

    cluster.with_client(use)


def test_a_killed_worker_is_survived(cluster: Cluster, tmp_path: Path) -> None:
    workers = cluster.start_workers(2)
    gate = tmp_path / "gate"

    async def use(client: Client) -> None:
        kept = []
        for number in range(40):  # half of the results are with each worker, and with nobody else
            place = sorted(await client.nthreads())[number % 2]
            kept.append(client.submit(on_loop.slow_square, number, workers=[place], allow_other_workers=True))
        await client.gather(kept)
        waiting = client.submit(on_loop.pid_then_wait_for, str(gate))
        while not (begun := list(tmp_path.glob("gate.*"))):
            await asyncio.sleep(0.02)
        victim = int(begun[0].suffix[1:])
        assert victim in {worker.pid for worker in workers}
        os.kill(victim, signal.SIGKILL)
        gate.touch()
        assert await waiting != victim
        total = await client.submit(on_loop.total, kept)
        assert total == sum(number * number for number in range(40))
        assert len(await client.nthreads()) == 1

    cluster.with_client(use)


def test_both_workers_killed_and_new_ones_come(cluster: Cluster) -> None:
    workers = cluster.start_workers(2)

    async def use(client: Client) -> None:
        kept = client.map(on_loop.slow_square, range(20))
        await client.gather(kept)
        for worker in workers:
            worker.kill()
        total = client.submit(on_loop.total, kept)
        cluster.start_workers(2)
        assert await total == sum(number * number for number in range(20))

    cluster.with_client(use)


def test_a_nanny_starts_a_killed_worker_again(cluster: Cluster) -> None:
    cluster.start_worker("--nanny")

    async def use(client: Client) -> None:
        (victim,) = (await client.run(os.getpid)).values()
        squares = client.map(on_loop.slow_square, range(20))
        await client.submit(on_loop.total, squares)
        os.kill(victim, signal.SIGKILL)
        assert await client.submit(on_loop.total, squares, pure=False) == sum(number * number for number in range(20))
        (successor,) = (await client.run(os.getpid)).values()
        assert successor != victim
        assert all(map(on_loop.is_expected, (await client.run(on_loop.in_worker)).values()))

    cluster.with_client(use, workers=1)


def test_a_restart(cluster: Cluster) -> None:
    cluster.start_worker("--nanny", "--nworkers", "2")

    async def use(client: Client) -> None:
        before = set((await client.run(os.getpid)).values())
        await client.restart()
        after = set((await client.run(os.getpid)).values())
        assert len(before) == len(after) == 2
        assert not before & after

    cluster.with_client(use)


def test_a_scheduler_that_goes(cluster: Cluster) -> None:
    (worker,) = cluster.start_workers(1)

    async def use(client: Client) -> None:
        assert await client.submit(on_loop.square, 4) == 16
        cluster.scheduler.terminate()
        while client.status == "running":
            await asyncio.sleep(0.02)

    cluster.with_client(use, workers=1)
    cluster.scheduler.wait(60)
    worker.terminate()
    worker.wait(60)
