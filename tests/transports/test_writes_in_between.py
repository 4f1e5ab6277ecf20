"""What is written while the write buffer is being sent leaves once: a file's ``fileno`` and destructors may write then."""

from __future__ import annotations

import asyncio
import os
import sys
from types import FrameType
from typing import Any

import pytest
from sockets import Pair

pytestmark = pytest.mark.edgeloop_only  # asyncio's pipe transports do not ask the file for its number again


class WritesWhenAsked:
    """A pipe's end that writes to its transport as it is asked for its number, once it is told to."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.transport: asyncio.WriteTransport | None = None

    def fileno(self) -> int:
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.write(b"third")
        return self.fd

    def close(self) -> None:
        os.close(self.fd)
        self.fd = -1


def drained(fd: int) -> bytes:
    """What a descriptor that does not block has."""
    parts = []
    try:
        while part := os.read(fd, 1_000_000):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def fill(transport: Any) -> int:
    """Write until the kernel takes no more; the count of bytes."""
    size = 0
    while not transport.get_write_buffer_size():
        transport.write(bytes(4096))
        size += 4096
    return size


async def test_what_a_file_writes_as_it_is_asked_for_its_number_leaves_once() -> None:
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        file: Any = WritesWhenAsked(writing)
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, file)
        size = fill(transport)
        transport.write(b"first")
        transport.write(b"second")
        file.transport = transport
        received = b""
        while len(received) < size + len(b"firstsecondthird"):
            received += drained(reading)
            await asyncio.sleep(0)
        transport.close()
        while transport.get_extra_info("pipe").fd != -1:
            await asyncio.sleep(0)
        received += drained(reading)
    finally:
        os.close(reading)
    assert received[size:] == b"firstsecondthird"


async def test_what_is_written_as_a_system_call_begins_leaves_once(pair: Pair) -> None:
    """In the pure edition: a collection may run at the entry of each function, and a destructor in it."""
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    size = fill(transport)
    transport.write(b"first")
    transport.write(b"second")

    def write(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_name == "send_many" and event == "call":
            sys.setprofile(None)
            transport.write(b"third")

    received = b""
    sys.setprofile(write)
    try:
        while len(received) < size + len(b"firstsecond"):
            received += drained(theirs.fileno())
            await asyncio.sleep(0)
    finally:
        sys.setprofile(None)
    while transport.get_write_buffer_size():
        received += drained(theirs.fileno())
        await asyncio.sleep(0)
    transport.abort()
    await asyncio.sleep(0)
    received += drained(theirs.fileno())
    assert received[size:].removesuffix(b"third") == b"firstsecond"
