"""Descriptors that add_reader and add_writer refuse."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from recording import Recorder, connected


def test_a_regular_file_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    with open(__file__, "rb") as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, print)
        with pytest.raises(PermissionError):
            loop.add_writer(file.fileno(), print)
        assert loop.remove_reader(file) is False


def test_a_bad_descriptor(loop: asyncio.AbstractEventLoop) -> None:
    sock = socket.socket()
    number = sock.fileno()
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_reader(number, print)
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_writer(number, print)
    for call in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError, match="Invalid file"):
            call(-1, print)
        with pytest.raises(ValueError, match="Invalid file"):
            call(sock, print)
    assert loop.remove_reader(number) is False
    assert loop.remove_writer(number) is False


@pytest.mark.parametrize("wrong", ["text", None, 1.5, 3j], ids=str)
def test_not_a_descriptor_at_all(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    for call in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError, match="Invalid file object: "):
            call(wrong, print)
    for remove in (loop.remove_reader, loop.remove_writer):
        with pytest.raises(ValueError, match="Invalid file object: "):
            remove(wrong)


async def test_a_transports_descriptor_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    async with connected(Recorder) as (transport, protocol, _):
        fd = transport.get_extra_info("socket").fileno()
        text = rf"^File descriptor {fd} is used by transport <"
        for call in (
            lambda: loop.add_reader(fd, print),
            lambda: loop.add_writer(fd, print),
            lambda: loop.remove_reader(fd),
            lambda: loop.remove_writer(fd),
        ):
            with pytest.raises(RuntimeError, match=text):
                call()
        transport.close()
        await protocol.lost()
