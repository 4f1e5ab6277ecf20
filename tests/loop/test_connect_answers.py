"""What is taken for an answer to connect(2): neither an event of before, nor a full backlog."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest


async def test_an_event_of_before_is_no_answer_to_connect(loop: asyncio.AbstractEventLoop) -> None:
    """A socket that is not connected has HUP in the epoll set, which its reader brings in."""

    async def accept_all(listening: socket.socket) -> None:
        listening.setblocking(False)
        while True:
            (await loop.sock_accept(listening))[0].close()

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]  # the queue is full: the next stays under way
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listening.getsockname())
        await asyncio.sleep(0.05)
        with socket.socket() as sock:
            sock.setblocking(False)
            loop.add_reader(sock, int)
            await asyncio.sleep(0.01)
            connecting = asyncio.ensure_future(loop.sock_connect(sock, listening.getsockname()))
            await asyncio.wait([connecting], timeout=0.2)
            assert not connecting.done()
            accepting = asyncio.create_task(accept_all(listening))
            await connecting  # when the kernel sends its SYN again
            accepting.cancel()
            await asyncio.wait([accepting])
            assert sock.getpeername() == listening.getsockname()
            loop.remove_reader(sock)
        for sock in waiting:
            sock.close()


@pytest.mark.edgeloop_only  # asyncio reports it as success
@pytest.mark.parametrize("how", ["sock_connect", "create_unix_connection"])
async def test_a_full_backlog_of_a_unix_socket_is_waited_for(
    loop: asyncio.AbstractEventLoop, tmp_path: Any, how: str
) -> None:
    path = str(tmp_path / "sock")

    async def connect() -> Callable[[], None]:
        if how == "create_unix_connection":
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, path)
            assert transport.get_extra_info("peername") == path
            return transport.close
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, path)
            assert sock.getpeername() == path
        except BaseException:
            sock.close()
            raise
        return sock.close

    with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as others:
        listening.bind(path)
        listening.listen(0)  # one waits, and on PyPy, whose least number is 1, two
        with pytest.raises(BlockingIOError):
            while True:
                other = others.enter_context(socket.socket(socket.AF_UNIX))
                other.setblocking(False)
                other.connect(path)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connect(), 0.05)
        connecting = asyncio.ensure_future(connect())
        await asyncio.sleep(0.05)
        assert not connecting.done()
        listening.accept()[0].close()
        (await asyncio.wait_for(connecting, 5))()
        await asyncio.sleep(0)
