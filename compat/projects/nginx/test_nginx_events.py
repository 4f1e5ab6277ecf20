"""What happens to a proxy in service: WebSockets, reloads, clients that go away, an application that stops."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

import pytest
from aiohttp import ClientSession, TCPConnector, WSMsgType
from nginx_process import Nginx
from proxied_application import Application, serving
from services.ports import free_port
from services.running import run

ABORT = struct.pack("ii", 1, 0)  # linger for 0 s: close sends RST


def test_websocket(where: str | None) -> None:
    async def main() -> None:
        application = Application()
        async with serving(application, path=where) as upstream:
            with Nginx(upstream) as proxy:
                async with ClientSession() as session:
                    async with session.ws_connect(f"{proxy.url}/websocket", max_msg_size=0) as client:
                        await client.send_str("hello")
                        assert await client.receive_str() == "hello"
                        for size in (0, 125, 126, 65_535, 65_536, 5_000_000):
                            data = os.urandom(size)
                            await client.send_bytes(data)
                            assert await client.receive_bytes() == data
                        for number in range(200):  # many on their way at once
                            await client.send_str(str(number))
                        assert [await client.receive_str() for _ in range(200)] == [str(n) for n in range(200)]
                        await client.close(code=4000)
                    assert await application.ends.get() == 4000

                    async with session.ws_connect(f"{proxy.url}/websocket") as client:
                        await client.send_str("close")
                        message = await client.receive()
                        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4001, "as you wish")
                    assert await application.ends.get() == 1000  # aiohttp's client answers with a code of its own

    run(main())


def test_websocket_whose_client_disappears() -> None:
    async def main() -> None:
        application = Application()
        async with serving(application) as upstream:
            with Nginx(upstream) as proxy:
                async with ClientSession() as session:
                    client = await session.ws_connect(f"{proxy.url}/websocket")
                    await client.send_str("hello")
                    assert await client.receive_str() == "hello"
                    sock = client.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                    client._response.connection.transport.abort()
                    assert await application.ends.get() == 1006  # closed without a close frame
                    await client.close()

    run(main())


def test_reload_while_requests_run(where: str | None) -> None:
    """New workers take over; no request is lost, and one that spans the reload gets its end."""

    async def main() -> None:
        application = Application()
        async with serving(application, path=where) as upstream:
            with Nginx(upstream, workers=2) as proxy:
                first_workers = proxy.workers()
                # A connection for each request: one that is kept may be closed by the old workers at any time.
                connector = TCPConnector(force_close=True, limit=20)
                async with ClientSession(raise_for_status=True, connector=connector) as session:
                    reloaded = asyncio.Event()
                    answered = 0

                    async def client(number: int) -> None:
                        nonlocal answered
                        while not reloaded.is_set():
                            data = b"%d" % number * 10_000
                            async with session.post(f"{proxy.url}/echo", data=data) as answer:
                                assert await answer.read() == data
                            answered += 1

                    async with session.get(f"{proxy.url}/two_halves") as spanning, asyncio.TaskGroup() as clients:
                        await application.started.wait()
                        for number in range(10):
                            clients.create_task(client(number))
                        for _ in range(3):
                            before, workers = answered, proxy.workers()
                            proxy.reload()
                            while not proxy.workers() - workers or answered < before + 50:
                                await asyncio.sleep(0.02)
                        assert proxy.workers() & first_workers  # it still serves the spanning request
                        application.go_on.set()
                        assert await spanning.read() == b"first second"
                        reloaded.set()
                    while proxy.workers() & first_workers:
                        await asyncio.sleep(0.02)

    run(main())


async def request_and_abort(application: Application, port: int, request: bytes) -> None:
    """Sends ``request``, waits until the application is at it, and resets the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await application.started.wait()
    if request.startswith(b"GET"):
        assert await reader.readexactly(15) == b"HTTP/1.1 200 OK"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    writer.transport.abort()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /download/100000 HTTP/1.1\r\nHost: proxy\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: proxy\r\nContent-Length: 1000000000\r\n\r\n" + bytes(100_000),
        b"POST /upload HTTP/1.1\r\nHost: proxy\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + bytes(500),
    ],
    ids=["download", "upload", "chunked upload"],
)
def test_client_aborts_in_the_middle(where: str | None, request_bytes: bytes) -> None:
    """nginx drops its connection to the application, whose handler hears of it; everybody else is served."""

    async def main() -> None:
        application = Application()
        async with serving(application, path=where) as upstream:
            with Nginx(upstream) as proxy:
                async with ClientSession(raise_for_status=True) as session:
                    for number in range(5):
                        application.started.clear()
                        await request_and_abort(application, proxy.port, request_bytes)
                        end = await application.ends.get()
                        assert isinstance(end, (ConnectionError, asyncio.CancelledError)), repr(end)
                        async with session.post(f"{proxy.url}/echo", data=b"%d" % number) as answer:
                            assert await answer.read() == b"%d" % number

    run(main())


def test_application_stops_and_comes_back() -> None:
    """nginx's idle connections don't hold the application up; while it is away nginx says so."""
    port = free_port()

    async def main() -> None:
        with Nginx(f"127.0.0.1:{port}") as proxy:
            async with ClientSession() as session:

                async def post(data: bytes) -> tuple[int, bytes]:
                    async with session.post(f"{proxy.url}/echo", data=data) as answer:
                        return answer.status, await answer.read()

                for number in range(3):
                    assert (await post(b"nobody"))[0] == 502
                    async with serving(Application(), port=port):
                        assert (
                            await asyncio.gather(*(post(b"%d" % number) for _ in range(10)))
                            == [(200, b"%d" % number)] * 10
                        )

    run(main())
