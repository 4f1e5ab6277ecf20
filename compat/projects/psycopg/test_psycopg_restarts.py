"""psycopg 3, its pool, and a PostgreSQL that is stopped, killed and started again."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from services.postgres_server import PostgresServer
from services.running import run
from test_psycopg import address


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("tls", ["disable", "require"])
def test_what_waits_learns_of_the_end(own_server: PostgresServer, how: str, tls: str) -> None:
    async def main() -> None:
        said = address(own_server, sslmode=tls)
        connections = [await AsyncConnection.connect(said, autocommit=True) for _ in range(10)]

        async def listen(connection: AsyncConnection) -> None:
            await connection.execute("LISTEN news")
            async for _ in connection.notifies():
                pass

        waiting = [asyncio.create_task(connection.execute("SELECT pg_sleep(100)")) for connection in connections[:5]]
        waiting += [asyncio.create_task(listen(connection)) for connection in connections[5:]]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(getattr(own_server, how))
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, psycopg.OperationalError)
        assert all(connection.broken for connection in connections)
        with pytest.raises(psycopg.OperationalError):
            await AsyncConnection.connect(said)
        for connection in connections:
            await connection.close()

    run(main())


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_pool_comes_back_after_a_restart(own_server: PostgresServer, how: str) -> None:
    async def main() -> None:
        pool = AsyncConnectionPool(address(own_server), min_size=10, max_size=10, open=False, reconnect_timeout=60)
        async with pool:
            await pool.wait()
            async with pool.connection() as connection:
                await connection.execute("CREATE TABLE written (writer int, number int)")
            stop = asyncio.Event()

            async def writer(name: int) -> int:
                number = 0
                while not stop.is_set():
                    try:
                        async with pool.connection() as connection:
                            await connection.execute("INSERT INTO written VALUES (%s, %s)", [name, number])
                    except psycopg.OperationalError:
                        await asyncio.sleep(0.02)
                    else:
                        number += 1
                return number

            async def count() -> int:
                while True:
                    try:
                        async with pool.connection() as connection:
                            (found,) = await (await connection.execute("SELECT count(*) FROM written")).fetchone()
                            return int(found)
                    except psycopg.OperationalError:
                        await asyncio.sleep(0.02)

            writers = [asyncio.create_task(writer(name)) for name in range(20)]
            await asyncio.sleep(0.3)
            await asyncio.to_thread(getattr(own_server, how))
            await asyncio.to_thread(own_server.start)
            since = await count()
            while await count() < since + 100:
                await asyncio.sleep(0.02)
            stop.set()
            for name, number in enumerate(await asyncio.gather(*writers)):
                async with pool.connection() as connection:
                    asked = await connection.execute(
                        "SELECT count(DISTINCT number) FROM written WHERE writer = %s", [name]
                    )
                    # One that was under way at the end may have been written without an answer, and then again.
                    assert await asked.fetchone() == (number,)

    run(main())


def test_a_pool_that_is_too_small(own_server: PostgresServer) -> None:
    async def main() -> None:
        async with AsyncConnectionPool(address(own_server), min_size=2, max_size=4, open=False) as pool:

            async def hold() -> None:
                async with pool.connection() as connection:
                    await connection.execute("SELECT pg_sleep(0.02)")

            await asyncio.gather(*(hold() for _ in range(100)))
            async with pool.connection(), pool.connection(), pool.connection(), pool.connection():
                with pytest.raises(PoolTimeout):
                    async with pool.connection(timeout=0.05):
                        pass
            waiting = asyncio.create_task(hold())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await asyncio.gather(*(hold() for _ in range(20)))

    run(main())
