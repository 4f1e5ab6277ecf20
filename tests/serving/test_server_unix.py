"""create_unix_server and create_unix_connection: paths, abstract names, stale sockets, clean-up, and errors."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from recording import Echo, Recorder, Run


async def exchange(loop: asyncio.AbstractEventLoop, path: Any) -> None:
    transport, protocol = await loop.create_unix_connection(Recorder, path)
    transport.write(b"hello")
    assert await protocol.bytes_in(5) == b"hello"
    transport.close()
    await protocol.lost()


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
async def test_a_path(loop: asyncio.AbstractEventLoop, tmp_path: Path, kind: Any) -> None:
    path = kind(tmp_path / "socket")
    async with await loop.create_unix_server(Echo, path) as server:
        (sock,) = server.sockets
        assert sock.family == socket.AF_UNIX
        assert sock.getsockname() == str(tmp_path / "socket")
        await exchange(loop, path)


@pytest.mark.parametrize("kind", [str, os.fsencode])
async def test_an_abstract_name(loop: asyncio.AbstractEventLoop, kind: Any) -> None:
    name = kind(f"\0edgeloop-test-{os.getpid()}")
    async with await loop.create_unix_server(Echo, name):
        await exchange(loop, name)


async def test_a_given_socket(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    async with await loop.create_unix_server(Echo, sock=sock):
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        transport, protocol = await loop.create_unix_connection(Recorder, sock=client)
        transport.write(b"hello")
        assert await protocol.bytes_in(5) == b"hello"
        transport.close()
        await protocol.lost()


async def test_addresses(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    protocols: list[Recorder] = []

    class Answering(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(data)

    def factory() -> Recorder:
        protocols.append(Answering())
        return protocols[-1]

    async with await loop.create_unix_server(factory, path):
        transport, protocol = await loop.create_unix_connection(Recorder, path)
        transport.write(b"hello")
        await protocol.bytes_in(5)
        assert transport.get_extra_info("peername") == path
        assert transport.get_extra_info("sockname") == ""
        assert protocols[0].transport.get_extra_info("peername") == ""
        assert protocols[0].transport.get_extra_info("sockname") == path
        transport.close()
        await protocol.lost()
        await protocols[0].lost()


async def test_a_stale_socket_is_replaced(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    async with await loop.create_unix_server(Echo, path):
        await exchange(loop, path)


async def test_a_file_in_the_way_is_kept(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match=rf"Address '{path}' is already in use") as raised:
        await loop.create_unix_server(Echo, str(path))
    assert raised.value.errno == errno.EADDRINUSE
    assert path.read_text() == "data"


async def test_a_missing_directory(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await loop.create_unix_server(Echo, str(tmp_path / "missing" / "socket"))


async def test_a_name_that_is_too_long(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """sun_path has 108 bytes (unix(7))."""
    path = str(tmp_path / ("x" * 120))
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        await loop.create_unix_server(Echo, path)
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        await loop.create_unix_connection(Recorder, path)


async def test_nobody_listens(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with pytest.raises(FileNotFoundError):
        await loop.create_unix_connection(Recorder, path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        with pytest.raises(ConnectionRefusedError):
            await loop.create_unix_connection(Recorder, path)


async def test_start_serving_false(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with await loop.create_unix_server(Echo, path, start_serving=False) as server:
        with pytest.raises(ConnectionRefusedError):
            await loop.create_unix_connection(Recorder, path)
        await server.start_serving()
        await exchange(loop, path)


async def test_a_backlog_that_is_full_makes_clients_wait(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """connect(2) on a Unix socket gives EAGAIN, not EINPROGRESS, when the backlog is full."""
    path = str(tmp_path / "socket")
    async with await loop.create_unix_server(Echo, path, backlog=10):
        results = await asyncio.gather(*(exchange(loop, path) for _ in range(8)), return_exceptions=True)
        assert results == [None] * 8


async def test_the_path_after_close(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """Removed since Python 3.13 (cleanup_socket), left before."""
    path = tmp_path / "socket"
    server = await loop.create_unix_server(Echo, str(path))
    assert path.exists()
    server.close()
    await server.wait_closed()
    assert path.exists() is (sys.version_info < (3, 13))


if sys.version_info >= (3, 13):

    def test_cleanup_socket_false(loop: asyncio.AbstractEventLoop, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "socket"
            async with await loop.create_unix_server(Echo, str(path), cleanup_socket=False):
                pass
            assert path.exists()

        run(main())

    def test_cleanup_leaves_a_successors_socket(loop: asyncio.AbstractEventLoop, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "socket"
            first = await loop.create_unix_server(Echo, str(path))
            second = await loop.create_unix_server(Echo, str(path))
            first.close()
            await first.wait_closed()
            async with second:
                assert path.exists()
                await exchange(loop, str(path))
            assert not path.exists()

        run(main())

    def test_cleanup_after_somebody_removed_it(loop: asyncio.AbstractEventLoop, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "socket"
            async with await loop.create_unix_server(Echo, str(path)) as server:
                path.unlink()
            assert not server.is_serving()
            assert not path.exists()

        run(main())


async def test_arguments_of_the_server(loop: asyncio.AbstractEventLoop) -> None:
    create: Any = loop.create_unix_server
    with (
        socket.socket(socket.AF_UNIX) as stream,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
        socket.socket() as tcp,
    ):
        with pytest.raises(ValueError, match=r"^path and sock can not be specified at the same time$"):
            await create(Echo, "/nowhere", sock=stream)
        with pytest.raises(ValueError, match=r"^path was not specified, and no sock specified$"):
            await create(Echo)
        for wrong in (datagram, tcp):
            with pytest.raises(ValueError, match=r"^A UNIX Domain Stream Socket was expected, got <socket"):
                await create(Echo, sock=wrong)
        with pytest.raises(TypeError, match=r"^ssl argument must be an SSLContext or None$"):
            await create(Echo, "/nowhere", ssl=True)
        for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            with pytest.raises(ValueError, match=rf"^{name} is only meaningful with ssl$"):
                await create(Echo, "/nowhere", **{name: 1})
        with pytest.raises(TypeError):
            await create(Echo, 42)


async def test_arguments_of_the_connection(loop: asyncio.AbstractEventLoop) -> None:
    create: Any = loop.create_unix_connection
    with (
        socket.socket(socket.AF_UNIX) as stream,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
        socket.socket() as tcp,
    ):
        with pytest.raises(ValueError, match=r"^path and sock can not be specified at the same time$"):
            await create(Recorder, "/nowhere", sock=stream)
        with pytest.raises(ValueError, match=r"^no path and sock were specified$"):
            await create(Recorder)
        for wrong in (datagram, tcp):
            with pytest.raises(ValueError, match=r"^A UNIX Domain Stream Socket was expected, got <socket"):
                await create(Recorder, sock=wrong)
        with pytest.raises(ValueError, match=r"^server_hostname is only meaningful with ssl$"):
            await create(Recorder, "/nowhere", server_hostname="name")
        with pytest.raises(ValueError, match=r"^you have to pass server_hostname when using ssl$"):
            await create(Recorder, "/nowhere", ssl=True)
        for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            with pytest.raises(ValueError, match=rf"^{name} is only meaningful with ssl$"):
                await create(Recorder, "/nowhere", **{name: 1})
