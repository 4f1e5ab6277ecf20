"""gRPC's AsyncIO server and client, both on the loop under test.

grpcio has an event engine of its own, in threads; one of them tells the loop through a socket pair, watched with
``add_reader``, that something has happened.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator

import grpc
import pytest
import trustme
from echo_service import OPTIONS, Client, both_sides, serve
from grpc import aio
from services.ports import free_port
from services.running import run


async def eventually(condition: object) -> None:
    while not condition():  # type: ignore[operator]
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("size", [0, 1, 65535, 1 << 20, 64 << 20])
def test_messages_of_any_size(size: int) -> None:
    async def main() -> None:
        async with both_sides() as (client, _):
            assert await client.unary(bytes(size)) == bytes(size)

    run(main())


def test_a_thousand_calls_at_once() -> None:
    async def main() -> None:
        async with both_sides() as (client, _):
            for _ in range(3):
                calls = [client.unary(str(number).encode()) for number in range(1000)]
                assert await asyncio.gather(*calls) == [str(number).encode() for number in range(1000)]

    run(main())


def test_calls_one_after_the_other() -> None:
    async def main() -> None:
        async with both_sides() as (client, _):
            for number in range(2000):
                assert await client.unary(str(number).encode()) == str(number).encode()

    run(main())


def test_streams_in_each_direction() -> None:
    sent = [bytes([number % 256]) * (number % 5000) for number in range(3000)]

    async def source() -> AsyncIterator[bytes]:
        for number, one in enumerate(sent):
            yield one
            if number % 100 == 0:
                await asyncio.sleep(0)

    async def main() -> None:
        async with both_sides() as (client, _):
            assert [int(one) async for one in client.count(b"3000")] == list(range(3000))
            assert int(await client.total(source())) == sum(map(len, sent))
            assert [one async for one in client.both(source())] == sent
            assert [one async for one in client.read_and_write(source())] == sent

    run(main())


def test_a_conversation() -> None:
    async def main() -> None:
        async with both_sides() as (client, _):

            async def talk(name: str) -> None:
                call = client.both()
                for number in range(50):
                    await call.write(f"{name} {number}".encode())
                    assert await call.read() == f"{name} {number}".encode()
                await call.done_writing()
                assert await call.read() is aio.EOF
                assert await call.code() is grpc.StatusCode.OK

            await asyncio.gather(*(talk(f"client {number}") for number in range(100)))

    run(main())


def test_a_reader_that_takes_its_time() -> None:
    async def main() -> None:
        async with both_sides() as (client, service):
            call = client.never_ending(b"x" * 100_000)
            for _ in range(20):
                assert await call.read() == b"x" * 100_000
                await asyncio.sleep(0.005)
            call.cancel()
            await eventually(lambda: service.running == 0)
            assert await client.unary(b"still there") == b"still there"

    run(main())


def test_cancelled_calls_are_cancelled_in_the_service() -> None:
    async def main() -> None:
        async with both_sides() as (client, service):
            for cancel_task in (False, True):
                before = service.cancelled
                calls = [client.sleep(b"") for _ in range(200)]
                tasks = [asyncio.ensure_future(wait(call)) for call in calls]
                await eventually(lambda: service.running == 200)
                for call, task in zip(calls, tasks, strict=True):
                    assert (task if cancel_task else call).cancel()
                for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                    assert isinstance(outcome, asyncio.CancelledError)
                await eventually(lambda: service.running == 0)
                assert service.cancelled == before + 200

    async def wait(call: aio.Call) -> object:
        return await call

    run(main())


def test_deadlines() -> None:
    async def main() -> None:
        async with both_sides() as (client, service):
            calls = [client.sleep(b"", timeout=0.05) for _ in range(100)]
            for outcome in await asyncio.gather(*(call.code() for call in calls)):
                assert outcome is grpc.StatusCode.DEADLINE_EXCEEDED
            with pytest.raises(aio.AioRpcError) as late:
                await client.sleep(b"", timeout=0.02)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await client.sleep(b"")
            await eventually(lambda: service.running == 0)

    run(main())


def test_errors_of_the_service() -> None:
    async def main() -> None:
        async with both_sides() as (client, _):
            with pytest.raises(aio.AioRpcError) as refused:
                await client.refuse(b"not today")
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert refused.value.details() == "not today"
            with pytest.raises(aio.AioRpcError) as failed:
                await client.fail(b"")
            assert failed.value.code() is grpc.StatusCode.UNKNOWN
            assert "a mistake of the service" in failed.value.details()

    run(main())


def test_work_in_the_executor() -> None:
    async def main() -> None:
        async with both_sides() as (client, _):
            asked = [client.in_a_thread(f"number {number}".encode()) for number in range(300)]
            assert await asyncio.gather(*asked) == [f"NUMBER {number}".encode() for number in range(300)]

    run(main())


def test_a_blocking_client_in_threads() -> None:
    """grpcio's other client, of the same process, does not get between."""

    async def main() -> None:
        server, _, port = await serve()

        def ask(name: int) -> None:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                unary = channel.unary_unary("/test.Echo/unary")
                for number in range(50):
                    assert unary(f"{name} {number}".encode()) == f"{name} {number}".encode()

        await asyncio.gather(*(asyncio.to_thread(ask, name) for name in range(4)))
        await server.stop(None)

    run(main())


def test_tls() -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    pair = (issued.private_key_pem.bytes(), b"".join(pem.bytes() for pem in issued.cert_chain_pems))

    async def main() -> None:
        server, _, port = await serve(credentials=grpc.ssl_server_credentials([pair]))
        trusting = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        async with aio.secure_channel(f"localhost:{port}", trusting, options=OPTIONS) as channel:
            assert await Client(channel).unary(bytes(8 << 20)) == bytes(8 << 20)
        async with aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials()) as channel:
            with pytest.raises(aio.AioRpcError) as refused:
                await Client(channel).unary(b"")
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        await server.stop(None)

    run(main())


def test_a_server_that_restarts() -> None:
    async def main() -> None:
        port = free_port()
        async with aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
            client = Client(channel)
            with pytest.raises(aio.AioRpcError) as away:
                await client.unary(b"nobody is there")
            assert away.value.code() is grpc.StatusCode.UNAVAILABLE
            for _ in range(3):
                server, service, _ = await serve(port)
                assert await client.unary(b"again", wait_for_ready=True) == b"again"
                sleeping = client.sleep(b"")
                await eventually(lambda service=service: service.running == 1)
                await server.stop(None)
                assert await sleeping.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    run(main())


def test_a_server_stops_when_its_calls_have_ended() -> None:
    async def main() -> None:
        server, _, port = await serve()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = Client(channel).both()
            await call.write(b"one")
            assert await call.read() == b"one"
            stopping = asyncio.create_task(server.stop(60))
            await asyncio.sleep(0.02)
            await call.write(b"two")
            assert await call.read() == b"two"
            assert not stopping.done()
            await call.done_writing()
            assert await call.code() is grpc.StatusCode.OK
            await stopping
            assert not await server.wait_for_termination(60)  # it says whether the time ran out

    run(main())


def test_one_loop_after_the_other() -> None:
    """Each new loop gets the events of its own calls."""

    async def main() -> None:
        async with both_sides() as (client, _):
            assert await asyncio.gather(*(client.unary(b"x") for _ in range(100))) == [b"x"] * 100

    for _ in range(10):
        run(main())


def test_loops_in_two_threads() -> None:
    failures: list[BaseException] = []

    def one() -> None:
        async def main() -> None:
            async with both_sides() as (client, _):
                for _ in range(10):
                    assert await asyncio.gather(*(client.unary(b"x") for _ in range(50))) == [b"x"] * 50

        try:
            run(main())
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_nothing_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with both_sides() as (client, service):
            sleeping = [client.sleep(b"") for _ in range(50)]
            await eventually(lambda: service.running == 50)
            for call in sleeping:
                call.cancel()
            await eventually(lambda: service.running == 0)

    with caplog.at_level(logging.WARNING):
        run(main())
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
