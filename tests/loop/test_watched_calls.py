"""Calls of the loop that block a little: a watch for blocking calls, put over os later, doesn't stop them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn

import pytest

Run = Callable[[Coroutine[Any, Any, Any]], Any]

pytestmark = pytest.mark.edgeloop_only  # asyncio's own calls are known to such a watch by their file


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Puts the watch over os."""

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError("this blocks")

    def watch() -> None:
        for name in ("sendfile", "stat", "unlink", "remove"):
            monkeypatch.setattr(os, name, refuse)

    return watch


def test_sendfile(run: Run, tmp_path: Path, watched: Callable[[], None]) -> None:
    (tmp_path / "file").write_bytes(b"content")

    async def main() -> bytes:
        ours, theirs = socket.socketpair()
        with theirs, (tmp_path / "file").open("rb") as file:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
            watched()
            await asyncio.get_running_loop().sendfile(transport, file, fallback=False)
            transport.close()
            return theirs.recv(100)

    assert run(main()) == b"content"


async def test_unix_server(tmp_path: Path, watched: Callable[[], None]) -> None:
    path = str(tmp_path / "server")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)

    watched()
    server = await asyncio.get_running_loop().create_unix_server(asyncio.Protocol, path)
    transport, _ = await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, path)
    transport.close()
    server.close()
    await server.wait_closed()


async def test_unix_datagrams(tmp_path: Path, watched: Callable[[], None]) -> None:
    path = str(tmp_path / "datagrams")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(path)

    watched()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=path, family=socket.AF_UNIX
    )
    transport.close()
    await asyncio.sleep(0)
