"""dask's connections without a cluster: tcp, tls, ws and wss between two ends in one process, and calls through them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy
import on_loop
import pytest
from distributed import Security
from distributed.batched import BatchedSend
from distributed.comm import Comm, CommClosedError, connect, listen
from distributed.core import ConnectionPool, Server, rpc
from distributed.protocol import to_serialize

SCHEMES = ["tcp", "tls", "ws", "wss"]

security = Security.temporary()

Handler = Callable[[Comm], Awaitable[None]]


def arguments(scheme: str, role: str) -> dict[str, Any]:
    secured = scheme in ("tls", "wss")
    return security.get_connection_args(role) if secured else {}


@asynccontextmanager
async def connection(scheme: str, handler: Handler) -> AsyncIterator[Comm]:
    """The client's end of a connection; ``handler`` has the other end."""
    assert on_loop.is_expected(on_loop.loop_class())
    listener = await listen(
        f"{scheme}://127.0.0.1",
        handler,
        **(security.get_listen_args("scheduler") if arguments(scheme, "worker") else {}),
    )
    try:
        comm = await connect(listener.contact_address, **arguments(scheme, "worker"))
        try:
            yield comm
        finally:
            await comm.close()
    finally:
        listener.stop()


async def echo(comm: Comm) -> None:
    try:
        while True:
            await comm.write(await comm.read())
    except CommClosedError:
        pass


@pytest.mark.parametrize("scheme", SCHEMES)
def test_messages_there_and_back(scheme: str) -> None:
    async def main() -> None:
        async with connection(scheme, echo) as comm:
            for number in range(200):
                await comm.write({"number": number, "data": b"x" * number})
                assert await comm.read() == {"number": number, "data": b"x" * number}

    asyncio.run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_message_of_megabytes(scheme: str) -> None:
    numbers = numpy.random.default_rng(7).random(4_000_000)  # 32 MB
    data = on_loop.block(1, 10_000_000)

    async def main() -> None:
        async with connection(scheme, echo) as comm:
            await comm.write({"numbers": to_serialize(numbers), "data": data})
            back = await comm.read()
            assert (back["numbers"] == numbers).all()
            assert back["data"] == data

    asyncio.run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_writer_much_faster_than_reader(scheme: str) -> None:
    size, count = 1_000_000, 24
    data = on_loop.block(2, size)

    async def main() -> None:
        lengths: list[int] = []
        finished = asyncio.Event()

        async def reader(comm: Comm) -> None:
            for _ in range(count):
                lengths.append(len((await comm.read())["data"]))
                await asyncio.sleep(0.005)
            finished.set()

        async with connection(scheme, reader) as comm:
            for _ in range(count):
                await comm.write({"data": data})
            await finished.wait()
        assert lengths == [size] * count

    asyncio.run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_other_end_closes(scheme: str) -> None:
    async def main() -> None:
        async def close(comm: Comm) -> None:
            await comm.read()
            await comm.close()

        async with connection(scheme, close) as comm:
            await comm.write("goodbye")
            with pytest.raises(CommClosedError):
                await comm.read()
            assert comm.closed()
            with pytest.raises(CommClosedError):
                await comm.write("nobody is there")

    asyncio.run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_other_end_aborts(scheme: str) -> None:
    async def main() -> None:
        async def abort(comm: Comm) -> None:
            await comm.read()
            comm.abort()

        async with connection(scheme, abort) as comm:
            await comm.write("goodbye")
            with pytest.raises(CommClosedError):
                await comm.read()

    asyncio.run(main())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_many_connections_at_once(scheme: str) -> None:
    async def main() -> None:
        listener = await listen(
            f"{scheme}://127.0.0.1",
            echo,
            **(security.get_listen_args("scheduler") if arguments(scheme, "worker") else {}),
        )

        async def one(number: int) -> int:
            comm = await connect(listener.contact_address, **arguments(scheme, "worker"))
            await comm.write(number)
            answer = await comm.read()
            await comm.close()
            return int(answer)

        try:
            assert await asyncio.gather(*map(one, range(60))) == list(range(60))
        finally:
            listener.stop()

    asyncio.run(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        async def nothing(comm: Comm) -> None: ...

        listener = await listen("tcp://127.0.0.1", nothing)
        address = listener.contact_address
        listener.stop()
        with pytest.raises(OSError):
            await connect(address, timeout=0.3)

    asyncio.run(main())


def test_a_peer_without_tls() -> None:
    async def main() -> None:
        listener = await listen("tls://127.0.0.1", echo, **security.get_listen_args("scheduler"))
        host, port = listener.get_host_port()
        try:
            with pytest.raises(OSError):
                await connect(f"tcp://{host}:{port}", timeout=1)
            comm = await connect(listener.contact_address, **security.get_connection_args("worker"))
            await comm.write("the listener goes on")
            assert await comm.read() == "the listener goes on"
            await comm.close()
        finally:
            listener.stop()

    asyncio.run(main())


def test_a_read_that_is_cancelled_closes_the_connection() -> None:
    async def main() -> None:
        async with connection("tcp", echo) as comm:
            reading = asyncio.ensure_future(comm.read())
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert comm.closed()

    asyncio.run(main())


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    async def add(x: int, y: int) -> int:
        await asyncio.sleep(0)
        return x + y

    async def fail() -> None:
        raise ValueError("as asked")

    async with Server({"add": add, "fail": fail}) as one:
        await one.listen("tcp://127.0.0.1")
        yield one


def test_calls_at_once_over_a_pool_of_connections() -> None:
    async def main() -> None:
        async with server() as one:
            pool = await ConnectionPool(limit=8)
            calls = [pool(one.address).add(x=number, y=1) for number in range(200)]
            assert await asyncio.gather(*calls) == list(range(1, 201))
            assert pool.open <= 8
            await pool.close()

    asyncio.run(main())


def test_an_error_in_a_call_comes_back_and_the_next_call_works() -> None:
    async def main() -> None:
        async with server() as one, rpc(one.address) as remote:
            with pytest.raises(ValueError, match="as asked"):
                await remote.fail()
            assert await remote.add(x=3, y=4) == 7

    asyncio.run(main())


def test_messages_in_batches_keep_their_order() -> None:
    async def main() -> None:
        received: list[int] = []
        finished = asyncio.Event()

        async def reader(comm: Comm) -> None:
            while len(received) < 5000:
                received.extend(await comm.read())
            finished.set()

        async with connection("tcp", reader) as comm:
            batches = BatchedSend(interval="2ms")
            batches.start(comm)
            for number in range(5000):
                batches.send(number)
                if number % 500 == 0:
                    await asyncio.sleep(0.003)
            await finished.wait()
            await batches.close()
        assert received == list(range(5000))

    asyncio.run(main())
