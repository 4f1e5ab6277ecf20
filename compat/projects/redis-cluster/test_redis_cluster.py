"""redis-py's asynchronous cluster client, and a primary that is killed below it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis.asyncio.cluster import RedisCluster as Client
from redis.exceptions import RedisError
from redis_cluster_service import RedisCluster
from services.running import run


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


def test_a_replica_takes_over(cluster: RedisCluster) -> None:
    async def main() -> None:
        async with Client.from_url(cluster.url) as client:
            keys = [f"key {number}" for number in range(200)]
            await asyncio.gather(*(client.set(key, key) for key in keys))
            assert await asyncio.gather(*map(client.get, keys)) == [key.encode() for key in keys]
            for primary in client.get_primaries():
                await client.execute_command("WAIT", 1, 0, target_nodes=primary)

            await asyncio.to_thread(cluster.kill, client.get_node_from_key("key 0").port)

            async def patiently(key: str) -> bytes:
                while True:
                    try:
                        got: bytes = await client.get(key)
                        return got
                    except (RedisError, OSError):
                        await asyncio.sleep(0.1)

            assert await asyncio.gather(*map(patiently, keys)) == [key.encode() for key in keys]

    run(main())
