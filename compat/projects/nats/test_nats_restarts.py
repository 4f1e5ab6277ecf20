"""nats-py and a nats-server that is stopped, killed and started again, plain and with TLS."""

from __future__ import annotations

import asyncio
import hashlib
import ssl

import nats.errors
import pytest
from connecting import connect, quiet
from nats_service import NatsServer
from services.running import run


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_subscribers_come_back_after_a_restart(own_server: NatsServer, how: str) -> None:
    async def main() -> None:
        lost, back = asyncio.Semaphore(0), asyncio.Semaphore(0)

        async def on_lost() -> None:
            lost.release()

        async def on_back() -> None:
            back.release()

        options = {"disconnected_cb": on_lost, "reconnected_cb": on_back}
        connections = [await connect(own_server, **options) for _ in range(20)]
        subscriptions = [await one.subscribe("news") for one in connections]
        for round_ in range(2):
            await asyncio.gather(*(one.flush(timeout=60) for one in connections))
            message = f"round {round_}".encode()
            await connections[round_].publish("news", message)
            for one in await asyncio.gather(*(one.next_msg(timeout=60) for one in subscriptions)):
                assert one.data == message
            await asyncio.to_thread(getattr(own_server, how))
            for _ in connections:
                await lost.acquire()
            await asyncio.to_thread(own_server.start)
            for _ in connections:
                await back.acquire()
        assert all(one.is_connected for one in connections)
        await asyncio.gather(*(one.close() for one in connections))

    run(main())


def test_what_is_published_while_the_server_is_away_is_sent_later(own_server: NatsServer) -> None:
    async def main() -> None:
        lost = asyncio.Event()

        async def on_lost() -> None:
            lost.set()

        connection = await connect(own_server, disconnected_cb=on_lost)
        subscription = await connection.subscribe("news")
        await asyncio.to_thread(own_server.kill)
        await lost.wait()
        for number in range(100):
            await connection.publish("news", str(number).encode())
        await asyncio.to_thread(own_server.start)
        for number in range(100):
            assert (await subscription.next_msg(timeout=60)).data == str(number).encode()
        await connection.close()

    run(main())


def test_without_reconnecting_the_end_is_the_end(own_server: NatsServer) -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def on_closed() -> None:
            closed.set()

        connection = await connect(own_server, allow_reconnect=False, closed_cb=on_closed)
        await asyncio.to_thread(own_server.kill)
        await closed.wait()
        with pytest.raises(nats.errors.ConnectionClosedError):
            await connection.publish("news", b"")

    run(main())


def test_killed_in_the_middle_of_large_messages(own_server: NatsServer) -> None:
    value = hashlib.shake_128(b"edgeloop").digest(4 << 20)

    async def main() -> None:
        connection = await connect(own_server)
        subscription = await connection.subscribe("values", pending_bytes_limit=-1)
        for _ in range(2):
            for _ in range(8):
                await connection.publish("values", value)
            assert (await subscription.next_msg(timeout=60)).data == value
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start)
            while True:  # those that were under way are lost, or come whole
                try:
                    assert (await subscription.next_msg(timeout=0.5)).data == value
                except nats.errors.TimeoutError:
                    break
            await connection.publish("values", value)
            assert (await subscription.next_msg(timeout=60)).data == value
        await connection.close()

    run(main())


def test_jetstream_keeps_what_was_acknowledged(own_server: NatsServer) -> None:
    async def main() -> None:
        connection = await connect(own_server)
        stream = connection.jetstream(timeout=60)
        await stream.add_stream(name="jobs", subjects=["jobs"])
        for number in range(100):
            await stream.publish("jobs", str(number).encode())
        await asyncio.to_thread(own_server.stop)
        await asyncio.to_thread(own_server.start)
        pulling = await stream.pull_subscribe("jobs", durable="worker")
        got: list[int] = []
        while len(got) < 100:
            for message in await pulling.fetch(50, timeout=60):
                got.append(int(message.data))
                await message.ack()
        assert got == list(range(100))
        await connection.close()

    run(main())


@pytest.mark.parametrize("own_server", [True], ids=["tls"], indirect=True)
def test_tls_of_an_unknown_authority_is_refused(own_server: NatsServer) -> None:
    async def main() -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await nats.connect(own_server.url, tls=ssl.create_default_context(), allow_reconnect=False, error_cb=quiet)

    run(main())
