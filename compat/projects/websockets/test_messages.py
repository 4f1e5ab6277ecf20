"""Messages: of each kind and size, fragmented, compressed, broadcast, many at once, more than fits."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Any

import pytest
from endpoints import Certificates, connected, run, serving
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConcurrencyError, ConnectionClosedError, PayloadTooBig


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    return Certificates()


@pytest.fixture(params=["plain", "tls"])
def both(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options for a connection with and without TLS."""
    if request.param == "plain":
        return {}
    certificates: Certificates = request.getfixturevalue("certificates")
    return {"ssl": certificates.server, "client": {"ssl": certificates.client}}


@pytest.mark.parametrize(
    "message", ["", "héllo", b"", b"\x00\xff", "x" * 125, "x" * 126, b"y" * 65535, b"y" * 65536], ids=len
)
def test_a_message_comes_back(both: dict[str, Any], message: str | bytes) -> None:
    async def main() -> None:
        async with connected(**both) as websocket:
            await websocket.send(message)
            assert await websocket.recv() == message

    run(main)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_message_of_8_mib(both: dict[str, Any], compression: str | None) -> None:
    data = random.Random(8).randbytes(1 << 13) * 1024
    both = both | {"client": both.get("client", {}) | {"compression": compression, "max_size": None}}

    async def main() -> None:
        async with connected(max_size=None, compression=compression, **both) as websocket:
            await websocket.send(data)
            back = await websocket.recv()
            assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()

    run(main)


def test_a_fragmented_message(both: dict[str, Any]) -> None:
    async def pieces() -> Any:
        for number in range(100):
            yield str(number) + ","
            await asyncio.sleep(0)

    async def gather(websocket: ServerConnection) -> None:
        await websocket.send([fragment async for fragment in websocket.recv_streaming()])

    async def main() -> None:
        async with connected(gather, **both) as websocket:
            await websocket.send(pieces())
            back = [fragment async for fragment in websocket.recv_streaming()]
            assert "".join(back) == "".join(f"{number}," for number in range(100))

    run(main)


def test_ten_thousand_messages_in_order(both: dict[str, Any]) -> None:
    async def main() -> None:
        async with connected(**both) as websocket:

            async def send() -> None:
                for number in range(10_000):
                    await websocket.send(str(number))

            sending = asyncio.create_task(send())
            assert [await websocket.recv() for _ in range(10_000)] == [str(number) for number in range(10_000)]
            await sending

    run(main)


def test_two_hundred_connections(both: dict[str, Any]) -> None:
    options = dict(both)
    client = options.pop("client", {})

    async def main() -> None:
        async with serving(**options) as (_, uri):

            async def talk(number: int) -> None:
                async with connect(uri, open_timeout=None, **client) as websocket:
                    for turn in range(5):
                        await websocket.send(f"{number} {turn}")
                        assert await websocket.recv() == f"{number} {turn}"

            await asyncio.gather(*(talk(number) for number in range(200)))

    run(main)


def test_broadcast() -> None:
    async def main() -> None:
        arrived = asyncio.Event()

        async def stay(websocket: ServerConnection) -> None:
            if len(server.connections) == 50:
                arrived.set()
            await websocket.wait_closed()

        async with serving(stay) as (server, uri):
            clients = await asyncio.gather(*(connect(uri) for _ in range(50)))
            await arrived.wait()
            for number in range(20):
                broadcast(server.connections, f"news {number}")
            for websocket in clients:
                assert [await websocket.recv() for _ in range(20)] == [f"news {number}" for number in range(20)]
            await asyncio.gather(*(websocket.close() for websocket in clients))

    run(main)


def test_a_sender_waits_for_a_slow_reader(both: dict[str, Any]) -> None:
    """The peer reads nothing: what is sent has to stop somewhere, and goes on when the peer reads."""

    async def main() -> None:
        read_on = asyncio.Event()
        received = 0

        async def late(websocket: ServerConnection) -> None:
            nonlocal received
            await read_on.wait()
            async for message in websocket:
                received += len(message)

        async with connected(late, max_queue=1, compression=None, **both) as websocket:
            sent = 0

            async def send() -> None:
                nonlocal sent
                for _ in range(2000):
                    await websocket.send(b"x" * 32768)
                    sent += 32768

            sending = asyncio.create_task(send())
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.1)
            assert sent < 2000 * 32768
            assert not sending.done()
            read_on.set()
            await sending
        assert received == 2000 * 32768

    run(main)


def test_a_message_over_the_limit_ends_the_connection(both: dict[str, Any]) -> None:
    async def main() -> None:
        async with connected(max_size=1000, compression=None, **both) as websocket:
            await websocket.send("x" * 1001)
            with pytest.raises(ConnectionClosedError) as raised:
                await websocket.recv()
            assert raised.value.rcvd is not None
            assert raised.value.rcvd.code == 1009

    run(main)


def test_a_message_over_the_clients_limit() -> None:
    async def main() -> None:
        async with connected(client={"max_size": 10}) as websocket:
            await websocket.send("x" * 11)
            with pytest.raises(ConnectionClosedError) as raised:
                await websocket.recv()
            assert isinstance(raised.value.__cause__, PayloadTooBig)

    run(main)


def test_two_readers_at_once() -> None:
    async def main() -> None:
        async with connected() as websocket:
            first = asyncio.create_task(websocket.recv())
            await asyncio.sleep(0)
            with pytest.raises(ConcurrencyError):
                await websocket.recv()
            await websocket.send("one")
            assert await first == "one"

    run(main)


def test_a_cancelled_recv_loses_nothing(both: dict[str, Any]) -> None:
    async def main() -> None:
        async with connected(**both) as websocket:
            for number in range(50):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await websocket.recv()
                await websocket.send(str(number))
                assert await websocket.recv() == str(number)

    run(main)
