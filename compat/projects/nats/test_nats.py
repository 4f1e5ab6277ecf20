"""nats-py and a nats-server that stays up: messages, requests, queue groups, JetStream, cancellation."""

from __future__ import annotations

import asyncio
import hashlib

import nats.errors
import pytest
from connecting import connect
from nats.aio.msg import Msg
from nats_service import NatsServer
from services.running import run


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 1 << 20, 8 << 20])
def test_messages_of_any_size(server: NatsServer, size: int) -> None:
    value = hashlib.shake_128(b"edgeloop").digest(size)

    async def main() -> None:
        connection = await connect(server)
        subscription = await connection.subscribe("values")
        for _ in range(4):
            await connection.publish("values", value)
            assert (await subscription.next_msg(timeout=60)).data == value
        await connection.close()

    run(main())


def test_every_subscriber_gets_every_message_in_order(server: NatsServer) -> None:
    sent = [f"{number} ".encode() * (number % 50) for number in range(5000)]

    async def main() -> None:
        async def subscriber() -> list[bytes]:
            connection = await connect(server)
            subscription = await connection.subscribe("news.*", pending_msgs_limit=len(sent))
            await connection.flush()
            ready.release()
            got = [(await subscription.next_msg(timeout=60)).data for _ in sent]
            await connection.close()
            return got

        ready = asyncio.Semaphore(0)
        subscribers = [asyncio.create_task(subscriber()) for _ in range(10)]
        for _ in subscribers:
            await ready.acquire()
        speaker = await connect(server)
        for number, message in enumerate(sent):
            await speaker.publish(f"news.{number % 7}", message)
        await speaker.flush()
        for got in await asyncio.gather(*subscribers):
            assert got == sent
        await speaker.close()

    run(main())


def test_a_thousand_requests_at_once(server: NatsServer) -> None:
    async def main() -> None:
        answering, asking = await connect(server), await connect(server)

        async def answer(message: Msg) -> None:
            await message.respond(message.data.upper())

        for _ in range(4):
            await answering.subscribe("shout", queue="shouters", cb=answer)
        await answering.flush()
        answers = await asyncio.gather(
            *(asking.request("shout", f"number {n}".encode(), timeout=60) for n in range(1000))
        )
        assert [one.data.decode() for one in answers] == [f"NUMBER {number}" for number in range(1000)]
        await asking.close()
        await answering.drain()

    run(main())


def test_a_request_that_nobody_answers(server: NatsServer) -> None:
    async def main() -> None:
        connection = await connect(server)
        with pytest.raises(nats.errors.NoRespondersError):
            await connection.request("nobody", b"", timeout=60)
        deaf = await connection.subscribe("deaf")
        for _ in range(10):
            with pytest.raises(nats.errors.TimeoutError):
                await connection.request("deaf", b"", timeout=0.02)
        assert deaf.pending_msgs == 10
        asked = asyncio.create_task(connection.request("deaf", b"", timeout=60))
        await asyncio.sleep(0.02)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await connection.close()

    run(main())


def test_a_cancelled_wait_loses_no_message(server: NatsServer) -> None:
    async def main() -> None:
        connection = await connect(server)
        subscription = await connection.subscribe("now.and.then")
        for number in range(50):
            waiting = asyncio.create_task(subscription.next_msg(timeout=60))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await connection.publish("now.and.then", str(number).encode())
            assert (await subscription.next_msg(timeout=60)).data == str(number).encode()
        await connection.close()

    run(main())


def test_500_connections(server: NatsServer) -> None:
    async def main() -> None:
        connections = await asyncio.gather(*(connect(server) for _ in range(500)))
        subscriptions = [await one.subscribe("all") for one in connections]
        await asyncio.gather(*(one.flush(timeout=60) for one in connections))
        await connections[0].publish("all", b"hello")
        for message in await asyncio.gather(*(one.next_msg(timeout=60) for one in subscriptions)):
            assert message.data == b"hello"
        await asyncio.gather(*(one.close() for one in connections))

    run(main())


def test_drain_hands_out_what_has_arrived(server: NatsServer) -> None:
    async def main() -> None:
        connection = await connect(server)
        got: list[bytes] = []

        async def slowly(message: Msg) -> None:
            await asyncio.sleep(0.001)
            got.append(message.data)

        await connection.subscribe("work", cb=slowly)
        for number in range(200):
            await connection.publish("work", str(number).encode())
        await connection.drain()
        assert got == [str(number).encode() for number in range(200)]
        assert connection.is_closed

    run(main())


def test_jetstream(server: NatsServer) -> None:
    async def main() -> None:
        connection = await connect(server)
        stream = connection.jetstream()
        await stream.add_stream(name="jobs", subjects=["jobs.*"])
        await asyncio.gather(*(stream.publish(f"jobs.{n % 3}", str(n).encode(), timeout=60) for n in range(1000)))
        pulling = await stream.pull_subscribe("jobs.*", durable="worker")
        got: list[int] = []
        while len(got) < 1000:
            for message in await pulling.fetch(100, timeout=60):
                got.append(int(message.data))
                await message.ack()
        assert sorted(got) == list(range(1000))
        with pytest.raises(nats.errors.TimeoutError):
            await pulling.fetch(1, timeout=0.1)

        bucket = await stream.create_key_value(bucket="settings")
        watching = await bucket.watch("colour")
        await bucket.put("colour", b"blue")
        while (entry := await watching.updates(timeout=60)) is None:
            pass
        assert entry.value == b"blue"
        await watching.stop()
        await connection.close()

    run(main())
