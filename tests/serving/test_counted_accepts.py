"""Accepts are counted: each call of accept(2), those it returned a connection from, and those that were open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest
from recording import turns

import edgeloop

pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather]  # asyncio counts nothing; weather lets accepts fail


@pytest.mark.parametrize("count", [1, 3, 10])
async def test_each_call_counts_once_and_the_last_finds_nobody(tmp_path: Path, count: int) -> None:
    loop: Any = asyncio.get_running_loop()
    path = str(tmp_path / "s")
    server = await loop.create_unix_server(asyncio.Protocol, path)
    await turns(3)
    before = edgeloop.stats(loop)
    with contextlib.ExitStack() as clients:
        for _ in range(count):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(path)  # from here on it can be accepted
        while (edgeloop.stats(loop) - before).accepts < count:
            await asyncio.sleep(0)
        await turns(5)
        counted = edgeloop.stats(loop) - before
        assert (counted.accepts, counted.connections_made) == (count, count)
        assert counted.system_calls.accept == count + 1
        assert (counted.accepts_refused, counted.accepts_failed) == (0, 0)
    while edgeloop.stats(loop).connections:
        await asyncio.sleep(0)
    server.close()
    await server.wait_closed()


async def test_a_listener_whose_socket_can_not_listen_any_more_is_taken_out() -> None:
    """Its program has shut it down. That is reported once."""
    loop: Any = asyncio.get_running_loop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    listening = socket.create_server(("127.0.0.1", 0))
    server = await loop.create_server(asyncio.Protocol, sock=listening)
    assert edgeloop.stats(loop).channels.listener == 1
    listening.shutdown(socket.SHUT_RDWR)
    while not reports:
        await asyncio.sleep(0)
    await turns(10)
    assert edgeloop.stats(loop).channels.listener == 0
    assert [context["message"] for context in reports] == ["Fatal error: accept() failed on a listening socket"]
    server.close()
    await server.wait_closed()
