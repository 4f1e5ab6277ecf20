"""loop.sendfile: files through transports, natively, by fallback, and over TLS."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from kernel_truth import OUT, epoll_set
from pipe_recording import write_pipe
from recording import Recorder, connected, receive, receive_all, reset
from tls_certificates import new_authority

SIZE = 50 * (1 << 20)
DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 50 MB that does not repeat."""
    path = tmp_path_factory.mktemp("sendfile") / "big"
    with path.open("wb") as file:
        for _ in range(50):
            file.write(os.urandom(1 << 20))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "small"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        yield file


async def test_fifty_megabytes(big: Path) -> None:
    async with connected(Recorder) as (transport, _, peer):
        with big.open("rb") as file:
            receiving = asyncio.ensure_future(receive(peer, SIZE))
            assert await asyncio.get_running_loop().sendfile(transport, file, fallback=False) == SIZE
            assert file.tell() == SIZE
            data = await receiving
    assert hashlib.sha256(data).digest() == hashlib.sha256(big.read_bytes()).digest()


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(("offset", "count"), [(0, None), (1000, None), (1000, 100), (10000, 1000)])
async def test_after_and_before_other_data(small: BinaryIO, native: bool, offset: int, count: int | None) -> None:
    file = small if native else io.BytesIO(DATA)
    expected = DATA[offset:] if count is None else DATA[offset : offset + count]

    async with connected(Recorder, send_buffer=4096) as (transport, _, peer):
        before, after = os.urandom(100_000), os.urandom(100_000)
        receiving = asyncio.ensure_future(receive_all(peer))
        transport.write(before)
        sent = await asyncio.get_running_loop().sendfile(transport, file, offset, count, fallback=not native)
        assert sent == len(expected)
        assert file.tell() == offset + len(expected)
        transport.write(after)
        transport.close()
        assert await receiving == before + expected + after


async def test_big_by_fallback(big: Path) -> None:
    data = big.read_bytes()

    async with connected(Recorder) as (transport, protocol, peer):
        receiving = asyncio.ensure_future(receive(peer, SIZE))
        assert await asyncio.get_running_loop().sendfile(transport, io.BytesIO(data)) == SIZE
        assert hashlib.sha256(await receiving).digest() == hashlib.sha256(data).digest()
        assert transport.get_protocol() is protocol


async def test_no_write_meanwhile(big: Path) -> None:
    loop = asyncio.get_running_loop()
    async with connected(Recorder) as (transport, _, peer):
        with big.open("rb") as file:
            sending = asyncio.ensure_future(loop.sendfile(transport, file))
            await receive(peer, 1000)
            with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
                transport.write(b"x")
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                transport.writelines([b"x"])
            receiving = asyncio.ensure_future(receive(peer, SIZE - 1000))
            assert await sending == SIZE
            await receiving
        transport.write(b"and now")
        assert await receive(peer, 7) == b"and now"


@pytest.mark.edgeloop_only  # the standard loop raises KeyError from its own books
async def test_no_second_sendfile_meanwhile(big: Path, small: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    async with connected(Recorder) as (transport, _, peer):
        with big.open("rb") as file:
            sending = asyncio.ensure_future(loop.sendfile(transport, file))
            await receive(peer, 1000)
            with pytest.raises(RuntimeError, match="Empty waiter is already set"):
                await loop.sendfile(transport, small)
            receiving = asyncio.ensure_future(receive(peer, SIZE - 1000))
            assert await sending == SIZE
            await receiving


@pytest.mark.edgeloop_only
async def test_sleeps_until_there_is_room(big: Path) -> None:
    """Rule 4: EPOLLOUT is armed while the socket is full, and no longer."""
    loop: Any = asyncio.get_running_loop()
    async with connected(Recorder) as (transport, protocol, peer):
        fd = transport.get_extra_info("socket").fileno()
        assert not epoll_set(loop)[fd] & OUT
        with big.open("rb") as file:
            sending = asyncio.ensure_future(loop.sendfile(transport, file))
            while not epoll_set(loop)[fd] & OUT:
                await asyncio.sleep(0)
            assert not sending.done()
            assert not loop.reactor.find(fd).writable
            await receive(peer, SIZE)
            assert await sending == SIZE
        while epoll_set(loop)[fd] & OUT:
            peer.send(b"x")
            await protocol.bytes_in(len(protocol.received) + 1)


async def test_reading_waits_meanwhile(big: Path) -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        with big.open("rb") as file:
            sending = asyncio.ensure_future(asyncio.get_running_loop().sendfile(transport, file))
            await receive(peer, 1000)
            peer.send(b"a question")
            for _ in range(5):
                await asyncio.sleep(0)
            assert protocol.received == b""
            assert not transport.is_reading()
            await receive(peer, SIZE - 1000)
            await sending
        assert transport.is_reading()
        assert await protocol.bytes_in(10) == b"a question"


async def test_paused_reading_stays_paused(small: BinaryIO) -> None:
    async with connected(Recorder) as (transport, _, _):
        transport.pause_reading()
        await asyncio.get_running_loop().sendfile(transport, small)
        assert not transport.is_reading()
        await asyncio.get_running_loop().sendfile(transport, io.BytesIO(DATA))
        assert not transport.is_reading()


async def test_refusals(small: BinaryIO, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with connected(Recorder) as (transport, _, _):
        with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
            await loop.sendfile(transport, io.BytesIO(DATA), fallback=False)
        with pytest.raises(ValueError, match="count must be a positive integer"):
            await loop.sendfile(transport, small, 0, 0)
        with pytest.raises(TypeError, match="offset must be a non-negative integer"):
            await loop.sendfile(transport, small, "0")  # type: ignore[arg-type]
        with open(tmp_path / "text", "w") as text, pytest.raises(ValueError, match="binary mode"):
            await loop.sendfile(transport, text)  # type: ignore[arg-type]
        transport.write(b"works still")
        transport.close()
        with pytest.raises(RuntimeError, match="Transport is closing"):
            await loop.sendfile(transport, small)
    async with write_pipe() as (pipe, _, _):
        with pytest.raises(RuntimeError, match="sendfile is not supported for transport"):
            await loop.sendfile(pipe, small)
    datagrams, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    with pytest.raises(RuntimeError, match="sendfile is not supported for transport"):
        await loop.sendfile(datagrams, small)  # type: ignore[arg-type]
    datagrams.close()
    await asyncio.sleep(0)
    assert small.tell() == 0


@pytest.mark.parametrize("native", [True, False])
async def test_peer_resets_in_the_middle(big: Path, native: bool) -> None:
    data = big.read_bytes()

    async with connected(Recorder, send_buffer=4096) as (transport, protocol, peer):
        with io.BytesIO(data) if not native else big.open("rb") as file:
            sending = asyncio.ensure_future(asyncio.get_running_loop().sendfile(transport, file))
            await receive(peer, 1000)
            reset(peer)
            with pytest.raises(ConnectionError):
                await sending
            assert 1000 <= file.tell() < SIZE
        await protocol.lost()
        assert protocol.calls.count("connection_lost") == 1


@pytest.mark.edgeloop_only  # on the standard loop the sendfile hangs
@pytest.mark.parametrize("way", ["abort", "close"])
async def test_transport_ends_in_the_middle(big: Path, way: str) -> None:
    async with connected(Recorder, send_buffer=4096) as (transport, protocol, peer):
        with big.open("rb") as file:
            sending = asyncio.ensure_future(asyncio.get_running_loop().sendfile(transport, file))
            await receive(peer, 1000)
            getattr(transport, way)()
            with pytest.raises(ConnectionError):
                await sending
            assert 1000 <= file.tell() < SIZE
        assert await protocol.lost() is None


@pytest.mark.edgeloop_only  # asyncio leaves the file where it was
async def test_cancelled_in_the_middle(big: Path) -> None:
    """The transport writes on afterwards, and the file says how far it came."""
    loop = asyncio.get_running_loop()
    async with connected(Recorder, send_buffer=65536) as (transport, _, peer):
        with big.open("rb") as file:
            sending = asyncio.ensure_future(loop.sendfile(transport, file))
            start = await receive(peer, 1 << 20)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            position = file.tell()
        assert len(start) <= position < SIZE
        receiving = asyncio.ensure_future(receive_all(peer))
        transport.write(b"the end")
        transport.close()
        assert start + await receiving == big.read_bytes()[:position] + b"the end"


async def test_over_tls(big: Path) -> None:
    authority = new_authority()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)

    loop = asyncio.get_running_loop()
    seen = hashlib.sha256()
    protocols: list[Recorder] = []

    class Hashing(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            protocols.append(self)
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            seen.update(data)
            self.note("data_received")

    server = await loop.create_server(Hashing, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    transport, client = await loop.create_connection(Recorder, *address, ssl=ours, server_hostname="localhost")
    with big.open("rb") as file:
        with pytest.raises(RuntimeError, match="fallback is disabled"):
            await loop.sendfile(transport, file, fallback=False)
        transport.write(b"before")
        assert await loop.sendfile(transport, file, 1000) == SIZE - 1000
        assert file.tell() == SIZE
        transport.write(b"after")
    transport.close()
    await client.lost()
    await protocols[0].lost()
    server.close()
    await server.wait_closed()
    assert seen.digest() == hashlib.sha256(b"before" + big.read_bytes()[1000:] + b"after").digest()


async def test_over_a_unix_socket(small: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, protocol = await loop.create_unix_connection(Recorder, sock=ours)
    assert await loop.sendfile(transport, small, 100, fallback=False) == len(DATA) - 100
    transport.close()
    assert await receive_all(theirs) == DATA[100:]
    await protocol.lost()
    theirs.close()
