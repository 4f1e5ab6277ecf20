"""asyncpg and a PostgreSQL that stays up: values, connections, notifications, cancellation, COPY, TLS."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from services.postgres_server import PostgresServer
from services.running import run


def address(server: PostgresServer, **more: Any) -> dict[str, Any]:
    return {"host": "localhost", "port": server.port, "user": "postgres", "database": "postgres", "ssl": False} | more


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 1 << 20, 100 << 20])
def test_values_of_any_size(server: PostgresServer, size: int) -> None:
    value = hashlib.shake_128(b"edgeloop").digest(min(size, 1 << 20)) * max(1, size >> 20)

    async def main() -> None:
        connection = await asyncpg.connect(**address(server))
        assert await connection.fetchval("SELECT $1::bytea", value) == value
        await connection.close()

    run(main())


def test_a_million_rows_by_a_cursor_and_at_once(server: PostgresServer) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(**address(server))
        async with connection.transaction():
            seen = 0
            async for row in connection.cursor("SELECT generate_series(1, 200000) AS n", prefetch=1000):
                seen += 1
                assert row["n"] == seen
        assert len(await connection.fetch("SELECT generate_series(1, 1000000)")) == 1_000_000
        await connection.close()

    run(main())


def test_200_connections_at_once(server: PostgresServer) -> None:
    async def main() -> None:
        async with asyncpg.create_pool(**address(server), min_size=200, max_size=200) as pool:
            numbers = await asyncio.gather(
                *(pool.fetchval("SELECT $1::int FROM pg_sleep(0.2)", n) for n in range(1000))
            )
            assert numbers == list(range(1000))

    run(main())


def test_every_notification_arrives_in_order(server: PostgresServer) -> None:
    async def main() -> None:
        listeners = [await asyncpg.connect(**address(server)) for _ in range(10)]
        heard: list[list[str]] = [[] for _ in listeners]
        complete = asyncio.Event()

        for connection, mine in zip(listeners, heard, strict=True):

            def hear(_: Any, __: int, ___: str, payload: str, mine: list[str] = mine) -> None:
                mine.append(payload)
                if all(len(one) == 1000 for one in heard):
                    complete.set()

            await connection.add_listener("news", hear)
        speaker = await asyncpg.connect(**address(server))
        sent = [f"{number} {'x' * (number % 4000)}" for number in range(1000)]
        await speaker.executemany("SELECT pg_notify('news', $1)", [(one,) for one in sent])
        await complete.wait()
        assert heard == [sent] * len(listeners)
        for connection in [*listeners, speaker]:
            await connection.close()

    run(main())


def test_a_cancelled_query_ends_in_the_server_too(server: PostgresServer) -> None:
    async def main() -> None:
        async with asyncpg.create_pool(**address(server), min_size=1, max_size=5) as pool:
            for _ in range(10):
                sleeping = [
                    asyncio.create_task(pool.execute("SELECT pg_sleep(100) -- to be cancelled")) for _ in range(5)
                ]
                await asyncio.sleep(0.02)
                for task in sleeping:
                    task.cancel()
                for outcome in await asyncio.gather(*sleeping, return_exceptions=True):
                    assert isinstance(outcome, asyncio.CancelledError)
            still = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%to be cancelled'"
            while await pool.fetchval(still) > 1:  # the question itself has these words
                await asyncio.sleep(0.01)

    run(main())


def test_no_answer_in_time(server: PostgresServer) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(**address(server))
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await connection.execute("SELECT pg_sleep(100)", timeout=0.02)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await connection.execute("SELECT pg_sleep(100)")
            assert await connection.fetchval("SELECT 1") == 1
        await connection.close()

    run(main())


def test_copy_in_and_out(server: PostgresServer) -> None:
    lines = [f"{number}\t{'x' * (number % 1000)}\n".encode() for number in range(40_000)]

    async def main() -> None:
        connection = await asyncpg.connect(**address(server))
        await connection.execute("CREATE TEMPORARY TABLE copied (number int, words text)")

        async def source() -> AsyncIterator[bytes]:
            for line in lines:
                yield line

        assert await connection.copy_to_table("copied", source=source()) == f"COPY {len(lines)}"
        got = bytearray()

        async def sink(data: bytes) -> None:
            got.extend(data)
            if len(got) % 7 == 0:
                await asyncio.sleep(0)

        await connection.copy_from_query("SELECT * FROM copied ORDER BY number", output=sink)
        assert got == b"".join(lines)
        await connection.close()

    run(main())


@pytest.mark.parametrize("mode", ["require", "verify-full"])
def test_tls(server: PostgresServer, mode: str) -> None:
    value = hashlib.shake_128(b"tls").digest(1 << 20) * 16

    async def main() -> None:
        trusted: Any = ssl.create_default_context(cafile=server.authority) if mode == "verify-full" else mode
        async with asyncpg.create_pool(**address(server, ssl=trusted), min_size=8, max_size=8) as pool:
            assert await pool.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            for got in await asyncio.gather(*(pool.fetchval("SELECT $1::bytea", value) for _ in range(16))):
                assert got == value
            sleeping = asyncio.create_task(pool.execute("SELECT pg_sleep(100)"))
            await asyncio.sleep(0.05)
            sleeping.cancel()  # asyncpg opens a connection of its own for that, with TLS as well
            with pytest.raises(asyncio.CancelledError):
                await sleeping

    run(main())


def test_tls_of_an_unknown_authority_is_refused(server: PostgresServer) -> None:
    async def main() -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncpg.connect(**address(server, ssl=ssl.create_default_context()))

    run(main())


def test_unix_socket(server: PostgresServer) -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            connection = await asyncpg.connect(**address(server, host=str(server.folder)))
            assert await connection.fetchval("SELECT $1::bytea", bytes(1 << 20)) == bytes(1 << 20)
            await connection.close()
        assert len(os.listdir("/proc/self/fd")) == before

    run(main())
