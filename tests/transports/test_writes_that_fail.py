"""Writes that find no memory, come too late, or leave as the connection is aborted: what is kept, told and counted."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest
from full_list import Full
from recording import Recorder, Run
from sockets import listening_socket

import edgeloop

pytestmark = pytest.mark.edgeloop_only  # counts, warnings of writelines, and attributes that are its own


async def connect() -> tuple[Any, Recorder, socket.socket]:
    """A connection that the loop has made, and its peer."""
    loop = asyncio.get_running_loop()
    with listening_socket(socket.AF_UNIX) as listening:
        transport, protocol = await loop.create_unix_connection(Recorder, listening.getsockname())
        return transport, protocol, listening.accept()[0]


@pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="the write buffer is C's there")
@pytest.mark.parametrize("several", [False, True], ids=["write", "writelines"])
def test_a_write_that_finds_no_memory_leaves_nothing_behind(run: Run, several: bool) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        with peer:
            transport._write_buffer = Full()
            with pytest.raises(MemoryError):
                if several:
                    transport.writelines([b"lost"])
                else:
                    transport.write(b"lost")
            assert transport.get_write_buffer_size() == 0
            transport.write(b"sent")
            assert transport.get_write_buffer_size() == 0
            assert peer.recv(100) == b"sent"
            transport.close()
            assert await protocol.lost() is None

    run(main())


@pytest.mark.parametrize("at_once", [False, True], ids=["once it is lost", "at once"])
@pytest.mark.parametrize("several", [False, True], ids=["write", "writelines"])
def test_who_writes_on_and_on_after_the_end_is_warned(
    run: Run, several: bool, at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        with peer:
            transport.abort()
            if not at_once:
                await protocol.lost()
            for _ in range(7):
                if several:
                    transport.writelines([b"too", b"late"])
                    transport.writelines([])
                else:
                    transport.write(b"too late")
            await protocol.lost()

    with caplog.at_level(logging.WARNING):
        run(main())
    assert [record.getMessage() for record in caplog.records] == ["socket.send() raised exception."] * 3


@pytest.mark.fair_weather
def test_a_send_of_abort_is_counted(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol, peer = await connect()
        with peer:
            for _ in range(5_000):  # until it gathers
                before = edgeloop.stats(loop).system_calls.send
                transport.write(b"x")
                if edgeloop.stats(loop).system_calls.send == before:
                    break
                await asyncio.sleep(0)
                peer.recv(65536)
            else:
                pytest.fail("nothing was gathered")
            transport.abort()
            assert edgeloop.stats(loop).system_calls.send == before + 1
            assert peer.recv(100)[-1:] == b"x"
            await protocol.lost()

    run(main())


@pytest.mark.skipif(edgeloop.EDITION == "compiled", reason="no attribute of the object is called there")
@pytest.mark.parametrize("aborted", [False, True], ids=["in peace", "aborted meanwhile"])
def test_a_close_that_finds_no_memory_can_be_tried_again(run: Run, aborted: bool) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()

        def fail() -> None:
            if aborted:
                transport.abort()
            raise MemoryError

        with peer:
            transport._on_drained = fail
            with pytest.raises(MemoryError):
                transport.close()
            del transport._on_drained
            assert transport.is_closing() is aborted
            transport.close()
            assert await protocol.lost() is None
            assert protocol.calls.count("connection_lost") == 1

    run(main())


@pytest.mark.parametrize("end", ["abort", "close"])
def test_an_end_of_the_stream_that_comes_too_late_changes_nothing(run: Run, end: str) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        with peer:
            getattr(transport, end)()
            transport.write_eof()
            transport.write(b"too late")
            await protocol.lost()
            transport.write_eof()
            transport.write(b"too late")
            transport.writelines([b"too late"])

    run(main())
