"""aio-pika and a RabbitMQ: messages, consumers, confirmation, cancellation, TLS; at the end it is restarted."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import Any

import aio_pika
import pytest
from rabbitmq_service import RabbitServer
from services.running import run


async def connect(server: RabbitServer, tls: bool = False, **options: Any) -> aio_pika.abc.AbstractRobustConnection:
    if tls:
        options["ssl_context"] = ssl.create_default_context(cafile=str(server.authority))
        return await aio_pika.connect_robust(f"amqps://guest:guest@localhost:{server.tls_port}/", **options)
    return await aio_pika.connect_robust(server.url, reconnect_interval=0.2, **options)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("size", [0, 1, 131064, 1 << 20, 16 << 20])
def test_messages_of_any_size(server: RabbitServer, size: int, tls: bool) -> None:
    value = hashlib.shake_128(b"edgeloop").digest(size)

    async def main() -> None:
        async with await connect(server, tls) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            for _ in range(3):
                await channel.default_exchange.publish(aio_pika.Message(value), queue.name)
                async with queue.iterator() as messages:
                    async for message in messages:
                        async with message.process():
                            assert message.body == value
                        break

    run(main())


def test_every_consumer_of_a_fanout_gets_every_message_in_order(server: RabbitServer) -> None:
    async def main() -> None:
        async with await connect(server) as speaking, await connect(server) as listening:
            exchange = await (await speaking.channel()).declare_exchange("news", "fanout", auto_delete=True)

            async def consumer() -> list[int]:
                channel = await listening.channel()
                queue = await channel.declare_queue(exclusive=True)
                await queue.bind("news")
                ready.release()
                got: list[int] = []
                async with queue.iterator(no_ack=True) as messages:
                    async for message in messages:
                        got.append(int(message.body))
                        if len(got) == 1000:
                            return got
                raise AssertionError("the messages ended too early")

            ready = asyncio.Semaphore(0)
            consumers = [asyncio.create_task(consumer()) for _ in range(10)]
            for _ in consumers:
                await ready.acquire()
            for number in range(1000):
                await exchange.publish(aio_pika.Message(str(number).encode()), "")
            for got in await asyncio.gather(*consumers):
                assert got == list(range(1000))

    run(main())


def test_a_cancelled_wait_loses_no_message(server: RabbitServer) -> None:
    async def main() -> None:
        async with await connect(server) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            for number in range(5):
                async with queue.iterator() as messages:
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.1):  # not in the middle of a call: that closes the channel
                            await anext(messages)
                await channel.default_exchange.publish(aio_pika.Message(str(number).encode()), queue.name)
                message = await queue.get(timeout=60)
                assert int(message.body) == number
                await message.ack()

    run(main())


def test_100_connections(server: RabbitServer) -> None:
    async def main() -> None:
        async def one(number: int) -> None:
            async with await connect(server) as connection:
                channel = await connection.channel()
                queue = await channel.declare_queue(exclusive=True)
                await channel.default_exchange.publish(aio_pika.Message(str(number).encode()), queue.name)
                assert int((await queue.get(timeout=60, no_ack=True)).body) == number

        await asyncio.gather(*map(one, range(100)))

    run(main())


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_consumers_come_back_after_a_restart(server: RabbitServer, how: str) -> None:
    async def main() -> None:
        async with await connect(server) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(f"jobs {how}", durable=True)
            got: asyncio.Queue[int] = asyncio.Queue()

            async def work(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                async with message.process(ignore_processed=True):
                    got.put_nowait(int(message.body))

            await queue.consume(work)
            lasting = aio_pika.DeliveryMode.PERSISTENT
            back = asyncio.Event()
            connection.reconnect_callbacks.add(lambda *_: back.set())
            for number in range(2):
                await channel.default_exchange.publish(
                    aio_pika.Message(str(number).encode(), delivery_mode=lasting), queue.name
                )
                while await got.get() != number:  # one whose acknowledgement was lost comes again
                    pass
                if number == 0:
                    await asyncio.to_thread(getattr(server, how))
                    await asyncio.to_thread(server.start)
                    await back.wait()
                    await channel.ready()

    run(main())
