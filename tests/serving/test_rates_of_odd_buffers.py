"""A rate, and a protocol whose buffer is smaller than that, or has items that are no bytes; sends under a rate."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any

import pytest
from recording import BufferRecorder, Recorder
from set_clock import pass_time, play, serving

import edgeloop

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have no limits


class Item(ctypes.Structure):
    """A byte by another name."""

    _fields_ = [("value", ctypes.c_ubyte)]


class OddRecorder(BufferRecorder):
    """Gets its data in an array of such items."""

    def __init__(self) -> None:
        super().__init__()
        self.items: Any = (Item * 3000)()

    def get_buffer(self, sizehint: int) -> Any:
        return self.items

    def buffer_updated(self, nbytes: int) -> None:
        self.received += bytes(self.items)[:nbytes]
        self.note("buffer_updated")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_buffer_whose_items_are_no_bytes_is_filled_at_the_rate(kind: str, tmp_path: Any) -> None:
    async def main() -> None:
        path = tmp_path / "s" if kind == "unix" else None
        async with serving(OddRecorder, path=path, read_rate=1000) as served:
            sock, protocol = await served.connected()
            data = bytes(range(250)) * 20
            with sock:
                sock.send(data)
                while len(protocol.received) < len(data):
                    await pass_time(1)
                assert protocol.received == data
                assert protocol.error is None
                assert "connection_lost" not in protocol.calls

    play(main())


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_buffer_that_is_smaller_than_the_rate_is_filled_again_and_again(kind: str, tmp_path: Any) -> None:
    """No event tells that a full one has left something."""

    async def main() -> None:
        path = tmp_path / "s" if kind == "unix" else None
        async with serving(BufferRecorder, path=path, read_rate=1_000_000) as served:
            sock, protocol = await served.connected()
            data = bytes(range(250)) * 20
            with sock:
                sock.send(data)
                await protocol.bytes_in(len(data))
                assert protocol.received == data

    play(main())


def test_sends_under_a_rate_are_counted() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serving(Recorder, write_rate=1000) as served:
            sock, protocol = await served.connected()
            with sock:
                before = edgeloop.stats(loop)
                protocol.transport.write(bytes(3000))
                while protocol.transport.get_write_buffer_size():
                    await pass_time(1)
                counted = edgeloop.stats(loop) - before
                assert counted.system_calls.send >= 3
                assert counted.bytes_out == 3000

    play(main())
