"""redis-py's asynchronous client and a redis-server that stays up: values, pipelines, publish and subscribe, TLS."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
import redis.asyncio as redis
from redis.exceptions import ConnectionError
from redis_service import RedisWithTLS
from services.running import run


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1 << 20, 64 << 20])
def test_values_of_any_size(server: RedisWithTLS, size: int) -> None:
    value = hashlib.shake_128(b"edgeloop").digest(min(size, 1 << 20)) * max(1, size >> 20)

    async def main() -> None:
        async with redis.Redis.from_url(server.url) as client:
            await client.set("key", value)
            assert await client.get("key") == value

    run(main())


def test_many_large_values_at_once(server: RedisWithTLS) -> None:
    async def main() -> None:
        async with redis.Redis.from_url(server.url) as client:

            async def one(number: int) -> None:
                value = bytes([number]) * (1 << 20)
                await client.set(f"key {number}", value)
                assert await client.get(f"key {number}") == value

            await asyncio.gather(*map(one, range(48)))

    run(main())


def test_a_pipeline_of_50000_commands(server: RedisWithTLS) -> None:
    async def main() -> list[int]:
        async with redis.Redis.from_url(server.url) as client, client.pipeline(transaction=False) as pipeline:
            for _ in range(50_000):
                pipeline.incr("counter")
            return await pipeline.execute()

    assert run(main()) == list(range(1, 50_001))


def test_a_watched_key_that_changes_fails_the_transaction(server: RedisWithTLS) -> None:
    async def main() -> None:
        async with redis.Redis.from_url(server.url) as client:

            async def increment() -> None:
                while True:
                    async with client.pipeline() as pipeline:
                        try:
                            await pipeline.watch("counter")
                            value = int(await pipeline.get("counter") or 0)
                            pipeline.multi()
                            pipeline.set("counter", value + 1)
                            await pipeline.execute()
                            return
                        except redis.WatchError:
                            continue

            await asyncio.gather(*(increment() for _ in range(30)))
            assert await client.get("counter") == b"30"

    run(main())


def test_a_thousand_connections(server: RedisWithTLS) -> None:
    async def main() -> None:
        clients = [redis.Redis.from_url(server.url, single_connection_client=True) for _ in range(1000)]
        assert sorted(await asyncio.gather(*(client.incr("counter") for client in clients))) == list(range(1, 1001))
        assert (await clients[0].info("clients"))["connected_clients"] >= 1000
        await asyncio.gather(*(client.aclose() for client in clients))

    run(main())


def test_every_subscriber_gets_every_message_in_order(server: RedisWithTLS) -> None:
    messages = [f"{number} ".encode() * (number % 50) for number in range(1000)]

    async def main() -> None:
        async with redis.Redis.from_url(server.url) as client:
            ready = asyncio.Semaphore(0)

            async def subscriber() -> list[bytes]:
                got: list[bytes] = []
                async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe("news")
                    await pubsub.psubscribe("other.*")
                    # The answers to both have to be read before it is known that it is subscribed.
                    for _ in range(2):
                        await pubsub.parse_response()
                    ready.release()
                    async for message in pubsub.listen():
                        got.append(message["data"])
                        if len(got) == len(messages):
                            return got
                raise AssertionError("the end of the messages came too early")

            subscribers = [asyncio.create_task(subscriber()) for _ in range(25)]
            for _ in subscribers:
                await ready.acquire()
            for number, message in enumerate(messages):
                assert await client.publish("news" if number % 2 else "other.news", message) == len(subscribers)
            for got in await asyncio.gather(*subscribers):
                assert got == messages

    run(main())


def test_a_cancelled_wait_gives_its_connection_back(server: RedisWithTLS) -> None:
    async def main() -> None:
        pool = redis.BlockingConnectionPool.from_url(server.url, max_connections=4)
        async with redis.Redis(connection_pool=pool) as client:
            for _ in range(20):
                waiting = [asyncio.create_task(client.blpop(["never"], timeout=0)) for _ in range(4)]
                await asyncio.sleep(0.005)
                for task in waiting:
                    task.cancel()
                for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                    assert isinstance(outcome, asyncio.CancelledError)
            await client.rpush("queue", "value")
            assert list(await client.blpop(["queue"], timeout=0)) == [b"queue", b"value"]
        await pool.aclose()

    run(main())


def test_no_answer_in_time(server: RedisWithTLS) -> None:
    async def main() -> None:
        async with redis.Redis.from_url(server.url, socket_timeout=0.05, retry=None) as client:
            await client.set("key", "value")
            with pytest.raises(redis.TimeoutError):
                await client.blpop(["never"], timeout=0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await client.blpop(["never"], timeout=0)
            assert await client.get("key") == b"value"

    run(main())


def test_a_server_that_sleeps_while_megabytes_are_written(server: RedisWithTLS) -> None:
    value = b"x" * (16 << 20)

    async def main() -> None:
        async with redis.Redis.from_url(server.url) as client:
            asleep = asyncio.create_task(client.execute_command("DEBUG", "SLEEP", "0.5"))
            await asyncio.sleep(0.05)
            written = [asyncio.create_task(client.set(f"key {number}", value)) for number in range(4)]
            turns = 0
            while not asleep.done():
                await asyncio.sleep(0.01)
                turns += 1
            await asyncio.gather(*written)
            assert turns > 1, "the loop stood still while the writes could not go on"
            assert [await client.strlen(f"key {number}") for number in range(4)] == [len(value)] * 4

    run(main())


def test_unix_socket(server: RedisWithTLS) -> None:
    async def main() -> None:
        async with redis.Redis(unix_socket_path=str(server.folder / "socket")) as client:
            await client.set("key", b"v" * (8 << 20))
            assert await client.get("key") == b"v" * (8 << 20)

    run(main())


def test_tls(server: RedisWithTLS) -> None:
    value = hashlib.shake_128(b"tls").digest(8 << 20)

    async def main() -> None:
        async with redis.Redis(
            host="localhost", port=server.tls_port, ssl=True, ssl_ca_certs=str(server.certificates / "ca.crt")
        ) as client:
            await asyncio.gather(*(client.set(f"key {number}", value) for number in range(8)))
            for number in range(8):
                assert await client.get(f"key {number}") == value

    run(main())


def test_tls_of_an_unknown_authority_is_refused(server: RedisWithTLS) -> None:
    async def main() -> None:
        async with redis.Redis(host="localhost", port=server.tls_port, ssl=True, retry=None) as client:
            with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.ping()

    run(main())
