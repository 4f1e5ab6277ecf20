"""Connections: opened, refused, kept alive, closed from either side, broken; on TCP, TLS and Unix sockets."""

from __future__ import annotations

import asyncio
import http
import socket
import ssl
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
import websockets.sync.server
from endpoints import Certificates, connected, echo, port_of, run, serving
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.asyncio.server import ServerConnection, basic_auth, unix_serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidMessage, InvalidStatus
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


def test_unix_sockets(tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        async with unix_serve(echo, path), unix_connect(path, "ws://localhost/") as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"

    run(main)


def test_debug_mode(certificates: Certificates) -> None:
    async def main() -> None:
        async with connected(ssl=certificates.server, client={"ssl": certificates.client}) as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"

    run(main, debug=True)


def test_what_is_known_of_the_peer(certificates: Certificates) -> None:
    async def tell(websocket: ServerConnection) -> None:
        await websocket.send(f"{websocket.remote_address[1]} {websocket.local_address[1]}")

    async def main() -> None:
        async with connected(tell, ssl=certificates.server, client={"ssl": certificates.client}) as websocket:
            assert await websocket.recv() == f"{websocket.local_address[1]} {websocket.remote_address[1]}"
            assert websocket.transport.get_extra_info("ssl_object").version() == "TLSv1.3"

    run(main)


def test_subprotocol_and_headers() -> None:
    async def main() -> None:
        client = {"subprotocols": ["chat", "superchat"], "additional_headers": {"X-Number": "42"}}
        async with connected(subprotocols=["superchat"], client=client) as websocket:
            assert websocket.subprotocol == "superchat"
            assert websocket.request is not None
            assert websocket.request.headers["X-Number"] == "42"

    run(main)


def test_an_http_answer_instead() -> None:
    def health(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(http.HTTPStatus.OK, "well\n") if request.path == "/health" else None

    async def main() -> None:
        async with serving(process_request=health) as (server, uri):
            with pytest.raises(InvalidStatus) as raised:
                await connect(uri + "health")
            assert (raised.value.response.status_code, raised.value.response.body) == (200, b"well\n")
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
            writer.write(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
            assert (await reader.read()).endswith(b"\r\n\r\nwell\n")
            writer.close()
            await writer.wait_closed()

    run(main)


def test_basic_auth() -> None:
    async def main() -> None:
        async with serving(process_request=basic_auth(realm="here", credentials=("me", "secret"))) as (_, uri):
            with pytest.raises(InvalidStatus) as raised:
                await connect(uri)
            assert raised.value.response.status_code == 401
            async with connect(uri.replace("//", "//me:secret@")) as websocket:
                await websocket.send("in")
                assert await websocket.recv() == "in"

    run(main)


def test_pings() -> None:
    async def main() -> None:
        async with connected() as websocket:
            for _ in range(20):
                assert await (await websocket.ping()) > 0
            assert websocket.latency > 0

    run(main)


def test_keepalive_notices_a_silent_peer() -> None:
    """The peer's process stands still: no FIN, no RST, no pong."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            silent = threading.Thread(target=websocket_that_falls_silent, args=(listening,))
            silent.start()
            uri = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
            try:
                async with connect(uri, ping_interval=0.1, ping_timeout=0.1, close_timeout=0.1) as websocket:
                    with pytest.raises(ConnectionClosedError) as raised:
                        await websocket.recv()
                    assert raised.value.sent is not None
                    assert raised.value.sent.code == 1011
            finally:
                await asyncio.to_thread(silent.join)

    run(main)


def websocket_that_falls_silent(listening: socket.socket) -> None:
    conn, _ = listening.accept()
    protocol = ServerProtocol()
    with conn:
        protocol.receive_data(conn.recv(65536))
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        conn.sendall(b"".join(protocol.data_to_send()))
        while conn.recv(65536):
            pass


@pytest.mark.parametrize("side", ["client", "server"])
def test_closed_with_code_and_reason(side: str) -> None:
    seen: list[tuple[int | None, str | None]] = []

    async def handle(websocket: ServerConnection) -> None:
        if side == "server":
            await websocket.close(4000, "enough")
        await websocket.wait_closed()
        seen.append((websocket.close_code, websocket.close_reason))

    async def main() -> None:
        async with connected(handle) as websocket:
            if side == "client":
                await websocket.close(4000, "enough")
            with pytest.raises(ConnectionClosedError):
                await websocket.recv()
            seen.append((websocket.close_code, websocket.close_reason))

    run(main)
    assert seen == [(4000, "enough")] * 2


def test_sending_after_the_end() -> None:
    async def main() -> None:
        async with connected() as websocket:
            await websocket.close()
            for _ in range(10):
                with pytest.raises(ConnectionClosedOK):
                    await websocket.send("too late")

    run(main)


def test_a_handler_that_fails() -> None:
    async def fail(websocket: ServerConnection) -> None:
        await websocket.recv()
        raise ValueError("on purpose")

    async def main() -> None:
        async with connected(fail) as websocket:
            await websocket.send("go")
            with pytest.raises(ConnectionClosedError) as raised:
                await websocket.recv()
            assert raised.value.rcvd is not None
            assert raised.value.rcvd.code == 1011

    run(main)


def test_a_peer_that_resets_the_connection() -> None:
    async def reset(websocket: ServerConnection) -> None:
        sock = websocket.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        websocket.transport.abort()

    async def main() -> None:
        async with connected(reset) as websocket:
            with pytest.raises(ConnectionClosedError) as raised:
                await websocket.recv()
            assert raised.value.rcvd is None
            assert websocket.close_code == 1006

    run(main)


def test_the_server_closes_under_its_clients(certificates: Certificates) -> None:
    async def main() -> None:
        async with serving(ssl=certificates.server) as (server, uri):
            clients = [await connect(uri, ssl=certificates.client) for _ in range(20)]
            server.close()
            for websocket in clients:
                with pytest.raises(ConnectionClosedOK) as raised:
                    await websocket.recv()
                assert raised.value.rcvd is not None
                assert raised.value.rcvd.code == 1001
            await server.wait_closed()

    run(main)


def test_a_server_that_closes_and_lets_its_clients_finish() -> None:
    async def main() -> None:
        async with serving() as (server, uri), connect(uri) as websocket:
            server.close(close_connections=False)
            await asyncio.sleep(0.05)
            with pytest.raises((OSError, InvalidMessage)):
                await connect(uri)
            await websocket.send("still here")
            assert await websocket.recv() == "still here"
            await websocket.close()
            await server.wait_closed()

    run(main)


def test_reconnecting() -> None:
    seen: list[Any] = []

    async def once(websocket: ServerConnection) -> None:
        await websocket.send(str(len(seen)))

    async def main() -> None:
        async with serving(once) as (_, uri):
            async for websocket in connect(uri):
                async for message in websocket:
                    seen.append(message)
                if len(seen) == 10:
                    break

    run(main)
    assert seen == [str(number) for number in range(10)]


def test_nobody_listens() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://127.0.0.1:{port}/")

    run(main)


def test_a_server_that_says_nothing() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            with pytest.raises(TimeoutError):
                await connect(f"ws://127.0.0.1:{listening.getsockname()[1]}/", open_timeout=0.1)

    run(main)


def test_a_client_that_says_nothing() -> None:
    async def main() -> None:
        async with serving(open_timeout=0.1) as (server, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(main)


def test_a_certificate_nobody_trusts(certificates: Certificates) -> None:
    async def main() -> None:
        async with serving(ssl=certificates.server) as (_, uri):
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(uri, ssl=ssl.create_default_context())

    run(main)


def test_cancelled_while_connecting(certificates: Certificates) -> None:
    async def main() -> None:
        async with serving(ssl=certificates.server) as (_, uri):
            for turns in range(30):
                connecting: asyncio.Task[ClientConnection] = asyncio.create_task(open_one(uri, certificates))
                for _ in range(turns):
                    await asyncio.sleep(0)
                connecting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await (await connecting).close()
                    raise asyncio.CancelledError  # it was quicker

    run(main)


async def open_one(uri: str, certificates: Certificates) -> ClientConnection:
    return await connect(uri, ssl=certificates.client)


def test_a_client_in_a_thread() -> None:
    def talk(uri: str) -> list[str | bytes]:
        with websockets.sync.client.connect(uri) as websocket:
            messages = []
            for number in range(100):
                websocket.send(str(number))
                messages.append(websocket.recv())
            return messages

    async def main() -> None:
        async with serving() as (_, uri):
            assert await asyncio.to_thread(talk, uri) == [str(number) for number in range(100)]

    run(main)


def test_a_server_in_a_thread() -> None:
    def handle(websocket: websockets.sync.server.ServerConnection) -> None:
        for message in websocket:
            websocket.send(message)

    with websockets.sync.server.serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        async def main() -> None:
            async with connect(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/") as websocket:
                await websocket.send(b"x" * 100_000)
                assert await websocket.recv() == b"x" * 100_000

        try:
            run(main)
        finally:
            server.shutdown()
            thread.join()


def test_the_command_line_client() -> None:
    async def main() -> None:
        async with serving() as (_, uri):
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "websockets", uri, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(b"hello\n")
            said = b""
            while b"< hello" not in said:
                piece = await child.stdout.read(1024)
                assert piece, said
                said += piece
            child.stdin.close()
            await child.wait()

    run(main)
