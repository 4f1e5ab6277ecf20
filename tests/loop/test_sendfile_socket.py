"""sock_sendfile: real files into real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from recording import Run, receive, receive_all
from sockets import tcp_pair

SIZE = 50 * (1 << 20)


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
    path.write_bytes(bytes(range(256)) * 40)
    with path.open("rb") as file:
        yield file


DATA = bytes(range(256)) * 40


@contextlib.asynccontextmanager
async def pair(buffer: int | None = None) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = tcp_pair(buffer)
    with ours, theirs:
        yield ours, theirs


async def test_fifty_megabytes(big: Path) -> None:
    loop = asyncio.get_running_loop()
    async with pair() as (ours, theirs):
        with big.open("rb") as file:
            receiving = asyncio.ensure_future(receive(theirs, SIZE))
            assert await loop.sock_sendfile(ours, file, fallback=False) == SIZE
            assert file.tell() == SIZE
            data = await receiving
    assert hashlib.sha256(data).digest() == hashlib.sha256(big.read_bytes()).digest()


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [
        (0, None, DATA),
        (1000, None, DATA[1000:]),
        (0, 100, DATA[:100]),
        (1000, 2000, DATA[1000:3000]),
        (10000, 5000, DATA[10000:]),
    ],
)
@pytest.mark.parametrize("native", [True, False])
async def test_offset_and_count(small: BinaryIO, offset: int, count: int | None, expected: bytes, native: bool) -> None:
    file: Any = small if native else io.BytesIO(DATA)

    async with pair() as (ours, theirs):
        sent = await asyncio.get_running_loop().sock_sendfile(ours, file, offset, count, fallback=not native)
        assert sent == len(expected)
        assert file.tell() == offset + len(expected)
        ours.shutdown(socket.SHUT_WR)
        assert await receive_all(theirs) == expected


async def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    async with pair() as (ours, _):
        with open(tmp_path / "empty", "rb") as file:
            assert await asyncio.get_running_loop().sock_sendfile(ours, file) == 0
            assert file.tell() == 0
        assert await asyncio.get_running_loop().sock_sendfile(ours, io.BytesIO()) == 0


async def test_between_other_data(small: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    async with pair() as (ours, theirs):
        await loop.sock_sendall(ours, b"before")
        await loop.sock_sendfile(ours, small)
        await loop.sock_sendall(ours, b"after")
        ours.shutdown(socket.SHUT_WR)
        assert await receive_all(theirs) == b"before" + DATA + b"after"


async def test_without_fallback() -> None:
    loop = asyncio.get_running_loop()
    async with pair() as (ours, _):
        with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
            await loop.sock_sendfile(ours, io.BytesIO(b"x"), fallback=False)
        with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
            await loop.sock_sendfile(ours, object(), fallback=False)  # type: ignore[arg-type]


@pytest.mark.edgeloop_only  # asyncio takes the size 0 that fstat(2) gives of a pipe for its end
async def test_a_pipe_as_the_file() -> None:
    """sendfile(2) refuses it; the fallback reads it to its end."""
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    os.write(write, b"out of a pipe")
    os.close(write)
    async with pair() as (ours, theirs):
        with open(read, "rb", 0) as file:
            with pytest.raises(asyncio.SendfileNotAvailableError, match=r"os\.sendfile call failed"):
                await loop.sock_sendfile(ours, file, fallback=False)
            assert await loop.sock_sendfile(ours, file) == 13
        assert await receive(theirs, 13) == b"out of a pipe"


async def test_arguments(small: BinaryIO, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with pair() as (ours, _):
        with open(tmp_path / "text", "w") as text, pytest.raises(ValueError, match="binary mode"):
            await loop.sock_sendfile(ours, text)  # type: ignore[arg-type]
        for count in (0, -1):
            with pytest.raises(ValueError, match=rf"count must be a positive integer \(got {count}\)"):
                await loop.sock_sendfile(ours, small, 0, count)
        with pytest.raises(TypeError, match=r"count must be a positive integer \(got 'x'\)"):
            await loop.sock_sendfile(ours, small, 0, "x")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"offset must be a non-negative integer \(got 1\.0\)"):
            await loop.sock_sendfile(ours, small, 1.0)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"offset must be a non-negative integer \(got -1\)"):
            await loop.sock_sendfile(ours, small, -1)
    with (
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        pytest.raises(ValueError, match="only SOCK_STREAM type sockets are supported"),
    ):
        datagrams.setblocking(False)
        await loop.sock_sendfile(datagrams, small)


def test_blocking_socket_in_debug_mode(run: Run, loop: asyncio.AbstractEventLoop, small: BinaryIO) -> None:
    loop.set_debug(True)

    async def main() -> None:
        with socket.socket() as sock, pytest.raises(ValueError, match="the socket must be non-blocking"):
            await loop.sock_sendfile(sock, small)

    run(main())


async def test_peer_goes_in_the_middle(big: Path) -> None:
    async with pair(4096) as (ours, theirs):
        with big.open("rb") as file:
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendfile(ours, file))
            await receive(theirs, 1000)
            theirs.close()
            with pytest.raises(ConnectionError):
                await sending
            assert 1000 <= file.tell() < SIZE


@pytest.mark.edgeloop_only  # asyncio leaves the file where it was
async def test_cancelled_in_the_middle(big: Path) -> None:
    """The file is left behind the bytes that went, so that sending can go on."""
    loop = asyncio.get_running_loop()
    async with pair(65536) as (ours, theirs):
        with big.open("rb") as file:
            sending = asyncio.ensure_future(loop.sock_sendfile(ours, file))
            start = await receive(theirs, 1 << 20)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            position = file.tell()
            assert len(start) <= position < SIZE
            receiving = asyncio.ensure_future(receive_all(theirs))
            assert await loop.sock_sendfile(ours, file, position) == SIZE - position
            ours.shutdown(socket.SHUT_WR)
            assert start + await receiving == big.read_bytes()


async def test_others_get_their_turn(big: Path) -> None:
    """Rule 3 for writing: a file that goes to a fast peer does not keep the loop for itself."""
    loop = asyncio.get_running_loop()
    async with pair() as (ours, theirs):
        theirs.setblocking(True)
        reading = loop.run_in_executor(None, hash_of_all, theirs)
        with big.open("rb") as file:
            sending = asyncio.ensure_future(loop.sock_sendfile(ours, file))
            turns = 0
            while not sending.done():
                await asyncio.sleep(0)
                turns += 1
        ours.shutdown(socket.SHUT_WR)
        assert await reading == hashlib.sha256(big.read_bytes()).digest()
        assert turns > 20


def hash_of_all(sock: socket.socket) -> bytes:
    """Blocking, for a thread."""
    seen = hashlib.sha256()
    while part := sock.recv(1 << 20):
        seen.update(part)
    return seen.digest()


async def test_an_empty_file_asks_no_socket_for_anything(loop: asyncio.AbstractEventLoop) -> None:
    """Nothing is sent, to a socket that is closed too."""
    closed = socket.socket()
    closed.setblocking(False)
    closed.close()
    with tempfile.TemporaryFile(buffering=0) as file:
        assert await loop.sock_sendfile(closed, file) == 0
        assert await loop.sock_sendfile(closed, file, fallback=False) == 0
