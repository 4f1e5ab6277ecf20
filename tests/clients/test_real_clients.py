"""Real clients against the examples under load: much data, many connections, and clients that behave badly."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import resource
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from example_process import ExampleProcess, eventually, example, memory
from kernel_truth import needs_own_allocator

Run = Callable[[Coroutine[Any, Any, Any]], Any]

LARGE = 200_000_000
MIB = 1 << 20
CONNECTIONS = 1000


@pytest.fixture(scope="module", autouse=True)
def room_for_descriptors() -> Iterator[None]:
    """A soft limit that holds all connections, here and in the examples, which inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + 200
    if hard < needed:
        pytest.skip(f"the hard limit of {hard} descriptors is below the {needed} that these tests need")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which the server keeps uploads."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, files: Path
) -> Iterator[ExampleProcess]:
    """The aiohttp application, one process for the whole module: what one client did to it meets the next."""
    directory = tmp_path_factory.mktemp("app")
    with example(request.config, directory, "aiohttp_app.py", "--files", str(files)) as process:
        yield process


@pytest.fixture
def echo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ExampleProcess]:
    with example(request.config, tmp_path, "echo_protocol.py") as process:
        yield process


def chunks(count: int) -> Iterator[bytes]:
    """What the application's /bytes/COUNT sends; each chunk is different, so that none can be lost or doubled."""
    for number in range(-(-count // 65_536)):
        yield (b"%016d" % number * 4096)[: count - number * 65_536]


@pytest.fixture(scope="module")
def large_sha256() -> str:
    digest = hashlib.sha256()
    for chunk in chunks(LARGE):
        digest.update(chunk)
    return digest.hexdigest()


async def large_body() -> AsyncIterator[bytes]:
    for chunk in chunks(LARGE):
        yield chunk


async def digest_of(url: str) -> tuple[int, str]:
    """Size and SHA-256 of what aiohttp's client gets from ``url``."""
    digest, size = hashlib.sha256(), 0
    async with ClientSession(raise_for_status=True) as session, session.get(url) as answer:
        async for chunk in answer.content.iter_any():
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


@needs_own_allocator
@pytest.mark.counts_references
def test_200_mb_up_with_aiohttp_and_down_with_curl(
    app: ExampleProcess, run: Run, files: Path, large_sha256: str
) -> None:
    before = app.resident()

    async def upload() -> Any:
        async with (
            ClientSession(raise_for_status=True) as session,
            session.put(f"{app.url}/files/large", data=large_body()) as answer,
        ):
            return await answer.json()

    assert run(upload()) == {"name": "large", "size": LARGE, "sha256": large_sha256}
    with subprocess.Popen(["curl", "-sS", f"{app.url}/files/large"], stdout=subprocess.PIPE) as curl:
        assert curl.stdout
        digest = hashlib.file_digest(curl.stdout, "sha256")  # type: ignore[arg-type]  # needs only readinto
    assert curl.returncode == 0
    assert digest.hexdigest() == large_sha256
    assert app.peak() < before + 64 * MIB, "it streams both ways, it doesn't collect"


def test_200_mb_up_with_curl_and_down_with_aiohttp(
    app: ExampleProcess, run: Run, tmp_path: Path, files: Path, large_sha256: str
) -> None:
    with (tmp_path / "by-curl").open("wb") as file:
        file.writelines(chunks(LARGE))
    answer = subprocess.run(
        ["curl", "-sS", "-T", str(tmp_path / "by-curl"), f"{app.url}/files/"], check=True, capture_output=True
    )
    (tmp_path / "by-curl").unlink()
    assert json.loads(answer.stdout) == {"name": "by-curl", "size": LARGE, "sha256": large_sha256}
    assert run(digest_of(f"{app.url}/files/by-curl")) == (LARGE, large_sha256)
    (files / "by-curl").unlink()


async def test_1000_connections_kept_alive(app: ExampleProcess) -> None:
    """Each session may have one connection only; the server's word for the peer's port shows that it was kept."""

    async def ask(session: ClientSession) -> int:
        async with session.get(f"{app.url}/json") as answer:
            peer = (await answer.json())["peer"]
            assert isinstance(peer[1], int)
            return peer[1]

    before = app.descriptors()
    sessions = [ClientSession(connector=TCPConnector(limit=1)) for _ in range(CONNECTIONS)]
    try:
        ports = await asyncio.gather(*map(ask, sessions))
        assert len(set(ports)) == CONNECTIONS
        assert app.descriptors() >= before + CONNECTIONS
        for _ in range(2):
            assert await asyncio.gather(*map(ask, sessions)) == ports
    finally:
        await asyncio.gather(*(session.close() for session in sessions))
    assert await asyncio.to_thread(eventually, lambda: app.descriptors() <= before)


def request_bytes(app: ExampleProcess, count: int) -> socket.socket:
    """A connection that has asked for ``count`` bytes, and has read nothing. Its receive buffer is small."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.settimeout(60)
    client.connect((app.host, app.port))
    client.sendall(f"GET /bytes/{count} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    return client


def unread(client: socket.socket) -> int:
    """Bytes in the socket's receive queue (FIONREAD of ioctl_tty(2))."""
    return int(struct.unpack("i", fcntl.ioctl(client, termios.FIONREAD, b"\0\0\0\0"))[0])


def wait_for_standstill(clients: list[socket.socket]) -> None:
    """Return when each client has data waiting, and for half a second no more has come to any."""
    still, last = 0, [0]

    def check() -> bool:
        nonlocal still, last
        now = [unread(client) for client in clients]
        still = still + 1 if now == last and all(now) else 0
        last = now
        return still == 25

    assert eventually(check)


def reset(client: socket.socket) -> None:
    """End the connection with RST (SO_LINGER of 0 seconds, socket(7))."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@needs_own_allocator
def test_clients_that_stop_reading_cost_little_and_still_get_everything(app: ExampleProcess, large_sha256: str) -> None:
    descriptors, resident = app.descriptors(), app.resident()
    stalled = [request_bytes(app, 10 * LARGE) for _ in range(19)]
    patient = request_bytes(app, LARGE)
    wait_for_standstill([*stalled, patient])
    assert app.resident() < resident + 32 * MIB, "2 GB were asked for by each of twenty"
    # Nobody else waits for them.
    assert subprocess.run(["curl", "-sS", "--fail", f"{app.url}/json"], capture_output=True).returncode == 0

    for client in stalled:
        reset(client)
    with patient, patient.makefile("rb") as answer:
        assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
        while answer.readline() != b"\r\n":
            pass
        assert hashlib.file_digest(answer, "sha256").hexdigest() == large_sha256
    assert eventually(lambda: app.descriptors() <= descriptors)


def test_aiohttp_client_that_stops_reading_holds_little(app: ExampleProcess, run: Run, large_sha256: str) -> None:
    """The client's loop is the one under test: it must stop receiving when the application stops taking."""

    async def download() -> str:
        digest = hashlib.sha256()
        async with ClientSession(raise_for_status=True) as session, session.get(f"{app.url}/bytes/{LARGE}") as answer:
            digest.update(await answer.content.readexactly(1_000_000))
            before = memory(os.getpid(), "VmRSS")
            await asyncio.sleep(1)  # in which a client that went on would receive it all
            assert memory(os.getpid(), "VmRSS") < before + 16 * MIB
            async for chunk in answer.content.iter_any():
                digest.update(chunk)
        return digest.hexdigest()

    assert run(download()) == large_sha256


def send_and_half_close(client: socket.socket, data: bytes) -> threading.Thread:
    def send() -> None:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    return sender


def test_half_closed_client_gets_its_full_answer(echo: ExampleProcess) -> None:
    """40 MB sent, then the end of the stream; nothing of the answer is read until the server has had to stop."""
    data = b"".join(chunks(40_000_000))
    before = echo.resident()
    with socket.create_connection((echo.host, echo.port), timeout=60) as client:
        sender = send_and_half_close(client, data)
        # The server must stop reading because we don't: its pauses in both directions are at work.
        wait_for_standstill([client])
        assert echo.resident() < before + 12 * MIB
        received = hashlib.sha256()
        while part := client.recv(MIB):
            received.update(part)
        sender.join()
    assert received.digest() == hashlib.sha256(data).digest()


def test_half_close_right_after_the_data(echo: ExampleProcess) -> None:
    """Data and FIN arrive together: on an edge-triggered loop that is one event with two things to notice."""
    for size in (1, 1000, 65_536, 1_000_000):
        data = os.urandom(size)
        with socket.create_connection((echo.host, echo.port), timeout=60) as client:
            # Corked, the last of the data waits for the FIN, and both leave in one segment (tcp(7)).
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            sender = send_and_half_close(client, data)
            received = bytearray()
            while part := client.recv(MIB):
                received += part
            sender.join()
        assert received == data


def test_clients_that_reset_in_the_middle_of_an_upload(app: ExampleProcess, files: Path) -> None:
    descriptors = app.descriptors()
    for sent in (0, 1, 100_000, 3_000_000):
        for _ in range(10):
            client = socket.create_connection((app.host, app.port), timeout=60)
            client.sendall(b"PUT /files/broken HTTP/1.1\r\nHost: test\r\nContent-Length: 10000000\r\n\r\n")
            client.sendall(bytes(sent))
            reset(client)
    assert eventually(lambda: app.descriptors() <= descriptors), "no connection and no partial file stays open"
    assert eventually(lambda: not list(files.glob(".upload-*"))), "no partial file stays on disk"
    assert not (files / "broken").exists()
    assert subprocess.run(["curl", "-sS", "--fail", f"{app.url}/json"], capture_output=True).returncode == 0


def test_clients_that_reset_in_the_middle_of_a_download(app: ExampleProcess, files: Path) -> None:
    (files / "served").write_bytes(bytes(5_000_000))
    descriptors = app.descriptors()
    for path in ("/bytes/100000000", "/files/served"):
        for read in (0, 1, 100_000, 1_000_000):
            for _ in range(10):
                client = socket.create_connection((app.host, app.port), timeout=60)
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
                left = read
                while left:
                    left -= len(client.recv(left))
                reset(client)
    assert eventually(lambda: app.descriptors() <= descriptors)
    assert subprocess.run(["curl", "-sS", "--fail", f"{app.url}/json"], capture_output=True).returncode == 0


def test_clients_that_reset_an_echo(echo: ExampleProcess) -> None:
    descriptors = echo.descriptors()
    for _ in range(200):
        client = socket.create_connection((echo.host, echo.port), timeout=60)
        client.sendall(bytes(100_000))
        client.recv(1)
        reset(client)
    assert eventually(lambda: echo.descriptors() <= descriptors)
    with socket.create_connection((echo.host, echo.port), timeout=60) as client:
        client.sendall(b"still there?")
        assert client.recv(100) == b"still there?"
