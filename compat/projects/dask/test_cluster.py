"""A scheduler and two workers in processes of their own, a client here: what is computed is what plain Python computes."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from pathlib import Path

import dask.array
import numpy
import on_loop
import pytest
from conftest import Cluster
from distributed import Client, Lock, Queue, as_completed


def test_a_computation_equals_the_plain_one(shared: Cluster) -> None:
    async def use(client: Client) -> None:
        squares = client.map(on_loop.square, range(1000))
        assert await client.submit(on_loop.total, squares) == sum(number * number for number in range(1000))
        assert await client.gather(squares) == [number * number for number in range(1000)]

    shared.with_client(use)


def test_arrays_in_chunks(shared: Cluster) -> None:
    numbers = numpy.random.default_rng(7).integers(0, 1000, (1000, 1000))

    async def use(client: Client) -> None:
        chunked = dask.array.from_array(numbers, chunks=(250, 250))
        computed = await client.compute((chunked @ chunked.T).sum(axis=0))
        assert (computed == (numbers @ numbers.T).sum(axis=0)).all()

    shared.with_client(use)


def test_megabytes_there_and_back(shared: Cluster) -> None:
    size = 48 * 1024 * 1024
    data = on_loop.block(0, size)

    async def use(client: Client) -> None:
        scattered = await client.scatter(data, broadcast=True)  # to one worker, and from that one to the other
        digests = await client.run(on_loop.digest, data)
        assert set(digests.values()) == {on_loop.digest(data)}
        for place in await client.nthreads():
            one = client.submit(on_loop.digest, scattered, workers=[place], pure=False)
            assert await one == on_loop.digest(data)
        assert await client.gather(scattered) == data

    shared.with_client(use)


def test_megabytes_between_workers(shared: Cluster) -> None:
    size = 8 * 1024 * 1024
    expected = on_loop.digest(b"".join(on_loop.block(seed, size) for seed in range(6)))

    async def use(client: Client) -> None:
        here, there = sorted(await client.nthreads())
        made = [
            client.submit(on_loop.block, seed, size, workers=[(here, there)[seed % 2]], allow_other_workers=False)
            for seed in range(6)
        ]
        for place in (here, there):
            one = client.submit(on_loop.digest_of_all, made, workers=[place], pure=False)
            assert await one == expected

    shared.with_client(use)


def test_a_large_array_in_frames_of_its_own(shared: Cluster) -> None:
    numbers = numpy.random.default_rng(7).random((3, 1_500_000))  # 36 MB, sent without a copy

    async def use(client: Client) -> None:
        futures = await client.scatter(list(numbers))
        assert (numpy.array(await client.gather(futures)) == numbers).all()

    shared.with_client(use)


def test_an_error_comes_back(shared: Cluster) -> None:
    async def use(client: Client) -> None:
        with pytest.raises(ZeroDivisionError):
            await client.submit(divmod, 1, 0)
        assert await client.submit(divmod, 7, 2) == (3, 1)

    shared.with_client(use)


def test_cancelled_while_it_waits(shared: Cluster, tmp_path: Path) -> None:
    async def use(client: Client) -> None:
        running = client.submit(on_loop.pid_then_wait_for, str(tmp_path / "gate"))
        queued = client.submit(on_loop.square, 3)
        await client.cancel(queued)
        (tmp_path / "gate").touch()
        assert isinstance(await running, int)
        with pytest.raises(CancelledError):
            await queued

    shared.with_client(use)


def test_coordination(shared: Cluster) -> None:
    async def use(client: Client) -> None:
        queue = await Queue("numbers")
        await asyncio.gather(*(queue.put(number) for number in range(50)))
        assert sorted([await queue.get() for _ in range(50)]) == list(range(50))
        inside = most = 0
        lock = Lock("one at a time")

        async def enter() -> None:
            nonlocal inside, most
            async with lock:
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.01)
                inside -= 1

        await asyncio.gather(*(enter() for _ in range(10)))
        assert most == 1
        counter = await client.submit(on_loop.Counter, actor=True)
        assert [await counter.add(1) for _ in range(20)] == list(range(1, 21))

    shared.with_client(use)


def test_results_as_they_come(shared: Cluster) -> None:
    async def use(client: Client) -> None:
        futures = client.map(on_loop.slow_square, range(30))
        came = [result async for _, result in as_completed(futures, with_results=True)]
        assert sorted(came) == [number * number for number in range(30)]

    shared.with_client(use)


def test_many_clients(shared: Cluster) -> None:
    async def use(client: Client) -> None:
        async def another(number: int) -> int:
            async with Client(shared.address, asynchronous=True, set_as_default=False) as other:
                return int(await other.submit(on_loop.square, number))

        assert await asyncio.gather(*map(another, range(12))) == [number * number for number in range(12)]

    shared.with_client(use)
