"""psycopg 3's asynchronous side and a PostgreSQL that stays up. libpq does the talking; psycopg waits with add_reader."""

from __future__ import annotations

import asyncio
import hashlib
import os

import psycopg
import pytest
from psycopg import AsyncConnection
from services.postgres_server import PostgresServer
from services.running import run


def address(server: PostgresServer, **more: object) -> str:
    said = {"host": "localhost", "port": server.port, "user": "postgres", "dbname": "postgres", "sslmode": "disable"}
    return " ".join(f"{name}={value}" for name, value in (said | more).items())


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 1 << 20, 100 << 20])
def test_values_of_any_size(server: PostgresServer, size: int) -> None:
    value = hashlib.shake_128(b"edgeloop").digest(min(size, 1 << 20)) * max(1, size >> 20)

    async def main() -> None:
        async with await AsyncConnection.connect(address(server)) as connection:
            (got,) = await (await connection.execute("SELECT %b::bytea", [value])).fetchone()
            assert got == value

    run(main())


def test_200_connections_at_once(server: PostgresServer) -> None:
    async def main() -> None:
        connections = await asyncio.gather(*(AsyncConnection.connect(address(server)) for _ in range(200)))

        async def ask(number: int, connection: AsyncConnection) -> int:
            for _ in range(5):
                cursor = await connection.execute("SELECT %s::int FROM pg_sleep(0.05)", [number])
                assert await cursor.fetchone() == (number,)
            return number

        assert await asyncio.gather(*(ask(*one) for one in enumerate(connections))) == list(range(200))
        for connection in connections:
            await connection.close()

    run(main())


def test_rows_streamed_one_by_one(server: PostgresServer) -> None:
    async def main() -> None:
        async with await AsyncConnection.connect(address(server)) as connection:
            seen = 0
            async for (number,) in connection.cursor().stream("SELECT generate_series(1, 50000)"):
                seen += 1
                assert number == seen
            assert seen == 50_000
            async with connection.cursor("named") as cursor:
                await cursor.execute("SELECT generate_series(1, 50000)")
                assert [number async for (number,) in cursor] == list(range(1, 50_001))

    run(main())


def test_a_pipeline(server: PostgresServer) -> None:
    async def main() -> None:
        async with await AsyncConnection.connect(address(server), autocommit=True) as connection:
            async with connection.pipeline():
                cursors = [await connection.execute("SELECT %s::int, %s", [n, "x" * 1000]) for n in range(5000)]
            assert [(await cursor.fetchone())[0] for cursor in cursors] == list(range(5000))

    run(main())


def test_every_notification_arrives_in_order(server: PostgresServer) -> None:
    sent = [f"{number} {'x' * (number % 4000)}" for number in range(1000)]

    async def main() -> None:
        ready = asyncio.Semaphore(0)

        async def listen() -> list[str]:
            async with await AsyncConnection.connect(address(server), autocommit=True) as connection:
                await connection.execute("LISTEN news")
                ready.release()
                return [one.payload async for one in connection.notifies(stop_after=len(sent))]

        listeners = [asyncio.create_task(listen()) for _ in range(10)]
        for _ in listeners:
            await ready.acquire()
        async with await AsyncConnection.connect(address(server), autocommit=True) as speaker:
            await speaker.cursor().executemany("SELECT pg_notify('news', %s)", [(one,) for one in sent])
        for heard in await asyncio.gather(*listeners):
            assert heard[: len(sent)] == sent

    run(main())


def test_notifications_with_a_timeout(server: PostgresServer) -> None:
    async def main() -> None:
        async with await AsyncConnection.connect(address(server), autocommit=True) as connection:
            await connection.execute("LISTEN quiet")
            assert [one async for one in connection.notifies(timeout=0.05)] == []
            await connection.execute("NOTIFY quiet, 'now'")
            assert [one.payload async for one in connection.notifies(timeout=10, stop_after=1)] == ["now"]

    run(main())


def test_a_cancelled_query_ends_in_the_server_too(server: PostgresServer) -> None:
    async def main() -> None:
        async with await AsyncConnection.connect(address(server), autocommit=True) as connection:
            for _ in range(20):
                sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(100)"))
                await asyncio.sleep(0.02)
                sleeping.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sleeping
                assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
            for _ in range(5):
                sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(100)"))
                await asyncio.sleep(0.02)
                await connection.cancel_safe()
                with pytest.raises(psycopg.errors.QueryCanceled):
                    await sleeping
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await connection.execute("SELECT pg_sleep(100)")

    run(main())


@pytest.mark.parametrize("tls", ["disable", "require"])
def test_copy_in_and_out(server: PostgresServer, tls: str) -> None:
    rows = [(number, "x" * (number % 1000)) for number in range(40_000)]

    async def main() -> None:
        async with await AsyncConnection.connect(address(server, sslmode=tls)) as connection:
            await connection.execute("CREATE TEMPORARY TABLE copied (number int, words text)")
            cursor = connection.cursor()
            async with cursor.copy("COPY copied FROM STDIN") as copy:
                for row in rows:
                    await copy.write_row(row)
            async with cursor.copy("COPY (SELECT * FROM copied ORDER BY number) TO STDOUT") as copy:
                copy.set_types(["int4", "text"])
                assert [row async for row in copy.rows()] == rows

    run(main())


def test_two_statements_of_one_connection_take_turns(server: PostgresServer) -> None:
    async def main() -> None:
        async with await AsyncConnection.connect(address(server)) as connection:

            async def ask(number: int) -> int:
                (got,) = await (await connection.execute("SELECT %s::int", [number])).fetchone()
                return int(got)

            assert await asyncio.gather(*map(ask, range(500))) == list(range(500))

    run(main())


def test_tls(server: PostgresServer) -> None:
    value = hashlib.shake_128(b"tls").digest(1 << 20) * 16

    async def main() -> None:
        said = address(server, sslmode="verify-full", sslrootcert=server.authority)
        for _ in range(10):
            async with await AsyncConnection.connect(said) as connection:
                cursor = await connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                assert await cursor.fetchone() == (True,)
                assert await (await connection.execute("SELECT %b::bytea", [value])).fetchone() == (value,)

    run(main())


def test_descriptors_are_watched_no_longer_than_they_are_there(server: PostgresServer) -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            connections = [await AsyncConnection.connect(address(server, host=server.folder)) for _ in range(20)]
            await asyncio.gather(*(connection.execute("SELECT pg_sleep(0.01)") for connection in connections))
            for connection in connections:
                await connection.close()
        assert len(os.listdir("/proc/self/fd")) == before

    run(main())
