"""redis-py's asynchronous client and a redis-server that is stopped, killed and started again."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError
from redis_service import RedisWithTLS
from services.running import run

PATIENT = Retry(ConstantBackoff(0.02), 1000)


def test_what_waits_learns_of_the_end(own_server: RedisWithTLS) -> None:
    async def main() -> None:
        async with redis.Redis.from_url(own_server.url, socket_timeout=60, retry=None) as client:
            waiting = [asyncio.create_task(client.blpop(["never"], timeout=0)) for _ in range(20)]
            while (await client.info("clients"))["blocked_clients"] < len(waiting):
                await asyncio.sleep(0.01)
            await asyncio.to_thread(own_server.kill)
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(outcome, ConnectionError)
            with pytest.raises(ConnectionError):
                await client.ping()

    run(main())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_clients_come_back_after_a_restart(own_server: RedisWithTLS, tls: bool) -> None:
    async def main() -> None:
        port = own_server.tls_port if tls else own_server.port
        more = {"ssl": True, "ssl_ca_certs": str(own_server.certificates / "ca.crt")} if tls else {}
        async with redis.Redis(host="localhost", port=port, retry=PATIENT, **more) as client:
            stop = asyncio.Event()

            async def writer(number: int) -> int:
                last = 0
                while not stop.is_set():
                    await client.set(f"writer {number}", last + 1)
                    last += 1
                return last

            writers = [asyncio.create_task(writer(number)) for number in range(20)]
            for _ in range(2):
                await asyncio.sleep(0.2)
                await asyncio.to_thread(own_server.stop)
                await asyncio.to_thread(own_server.start)
            await asyncio.sleep(0.2)
            stop.set()
            for number, last in enumerate(await asyncio.gather(*writers)):
                assert last > 0
                assert await client.get(f"writer {number}") == str(last).encode()

    run(main())


def test_a_subscriber_subscribes_again(own_server: RedisWithTLS) -> None:
    async def main() -> None:
        async with redis.Redis.from_url(own_server.url, retry=PATIENT) as client, client.pubsub() as pubsub:
            await pubsub.subscribe("news")

            async def next_message() -> bytes:
                while True:
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
                    if message is not None:
                        data: bytes = message["data"]
                        return data

            for round_ in range(3):
                heard = asyncio.create_task(next_message())
                while not await client.publish("news", f"round {round_}"):
                    await asyncio.sleep(0.01)
                assert await heard == f"round {round_}".encode()
                await asyncio.to_thread(own_server.kill)
                await asyncio.to_thread(own_server.start)

    run(main())


def test_a_server_killed_in_the_middle_of_an_answer(own_server: RedisWithTLS) -> None:
    async def main() -> None:
        async with redis.Redis.from_url(own_server.url, socket_timeout=60, retry=None) as client:
            for number in range(8):
                await client.set(f"key {number}", b"x" * (32 << 20))
            reading = [asyncio.create_task(client.get(f"key {number}")) for number in range(8)]
            await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.to_thread(own_server.kill)
            for outcome in await asyncio.gather(*reading, return_exceptions=True):
                assert isinstance(outcome, ConnectionError) or outcome == b"x" * (32 << 20)

    run(main())
