"""asyncpg and a PostgreSQL that is stopped, killed and started again."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from services.postgres_server import PostgresServer
from services.running import run
from test_asyncpg import address

#: What asyncpg raises when the server goes away. The last is what its protocol says, on any loop, where a connection is
#: lost between two steps of one call.
GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    asyncpg.InternalClientError,
)


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("tls", [False, "require"], ids=["plain", "tls"])
def test_what_waits_learns_of_the_end(own_server: PostgresServer, how: str, tls: bool | str) -> None:
    async def main() -> None:
        connections = [await asyncpg.connect(**address(own_server, ssl=tls)) for _ in range(10)]
        ended: list[object] = []
        for connection in connections:
            connection.add_termination_listener(ended.append)
        busy, idle = connections[:5], connections[5:]
        waiting = [asyncio.create_task(connection.execute("SELECT pg_sleep(100)")) for connection in busy]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(getattr(own_server, how))
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, GONE)
        while len(ended) < len(connections):
            await asyncio.sleep(0.01)
        assert all(connection.is_closed() for connection in connections)
        for connection in idle:
            with pytest.raises(asyncpg.InterfaceError):
                await connection.execute("SELECT 1")
        with pytest.raises(OSError):
            await asyncpg.connect(**address(own_server, ssl=tls))

    run(main())


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_pool_comes_back_after_a_restart(own_server: PostgresServer, how: str) -> None:
    async def main() -> None:
        async with asyncpg.create_pool(**address(own_server), min_size=10, max_size=10) as pool:
            await pool.execute("CREATE TABLE written (writer int, number int)")
            stop = asyncio.Event()

            async def writer(name: int) -> int:
                number = 0
                while not stop.is_set():
                    try:
                        await pool.execute("INSERT INTO written VALUES ($1, $2)", name, number)
                    except GONE:
                        await asyncio.sleep(0.02)
                    else:
                        number += 1
                return number

            writers = [asyncio.create_task(writer(name)) for name in range(20)]
            await asyncio.sleep(0.3)
            await asyncio.to_thread(getattr(own_server, how))
            await asyncio.to_thread(own_server.start)
            since = await pool.fetchval("SELECT count(*) FROM written")
            while await pool.fetchval("SELECT count(*) FROM written") < since + 100:
                await asyncio.sleep(0.02)
            stop.set()
            for name, number in enumerate(await asyncio.gather(*writers)):
                # One that was under way at the end may have been written without an answer, and then again.
                found = await pool.fetchval("SELECT count(DISTINCT number) FROM written WHERE writer = $1", name)
                assert found == number

    run(main())
