"""Writes around a high-water mark of zero, to a lost connection, and what is told of datagrams and files that wait."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from datagram_endpoints import DatagramRecorder
from recording import Recorder, attach, connected, reset, turns


async def test_what_is_sent_at_once_pauses_nobody() -> None:
    async with connected(Recorder) as (transport, protocol, peer):
        transport.set_write_buffer_limits(high=0)
        for _ in range(20):
            transport.write(b"a")
            transport.writelines([b"b", b"c"])
            await turns(1)
        while len(await asyncio.get_running_loop().sock_recv(peer, 100)) == 100:
            pass
        assert protocol.calls.count("pause_writing") == protocol.calls.count("resume_writing")
        assert transport.get_write_buffer_size() == 0


async def test_lists_of_nothing_to_a_lost_connection_are_no_lost_writes(caplog: pytest.LogCaptureFixture) -> None:
    async with connected(Recorder) as (transport, _, _peer):
        transport.abort()
        for _ in range(10):
            transport.writelines([])
    assert "socket.send() raised exception" not in caplog.text


async def test_a_file_that_waits_for_a_lost_connection_is_not_sent(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    async with connected(Recorder, send_buffer=4096) as (transport, protocol, peer):
        transport.write(bytes(1_000_000))
        with path.open("rb") as file:
            sending = loop.create_task(loop.sendfile(transport, file))
            await turns()
            reset(peer)
            with pytest.raises(ConnectionError):
                await sending
        await protocol.lost()


async def test_nothing_is_sent_of_an_empty_file_by_fallback() -> None:
    loop = asyncio.get_running_loop()
    async with connected(Recorder) as (transport, protocol, peer):
        assert await loop.sendfile(transport, io.BytesIO()) == 0
        assert transport.get_protocol() is protocol
        transport.write(b"after")
        assert await loop.sock_recv(peer, 100) == b"after"


async def unix_endpoint(path: Path) -> tuple[Any, DatagramRecorder, socket.socket]:
    """An endpoint connected to a socket that takes no more."""
    receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiving.bind(str(path))
    receiving.setblocking(False)
    loop = asyncio.get_running_loop()
    transport: Any
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, family=socket.AF_UNIX, remote_addr=str(path)
    )
    while not transport.get_write_buffer_size():
        transport.sendto(bytes(10_000))
    return transport, protocol, receiving


async def test_an_endpoint_that_closes_says_so_while_it_has_to_send(tmp_path: Path) -> None:
    transport, protocol, receiving = await unix_endpoint(tmp_path / "socket")
    with receiving:
        transport.close()
        assert transport.is_closing()
        assert "closing" in repr(transport)
        transport.abort()
        await protocol.lost()


@pytest.mark.edgeloop_only  # asyncio 3.13.0 doesn't take the headers off what waits, and never resumes
async def test_the_first_message_that_waits_pauses_where_none_may(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(tmp_path / "full"))
        full.setblocking(False)
        loop = asyncio.get_running_loop()
        transport: Any
        transport, protocol = await loop.create_datagram_endpoint(
            DatagramRecorder, family=socket.AF_UNIX, remote_addr=str(tmp_path / "full")
        )
        transport.set_write_buffer_limits(high=0)
        while "pause_writing" not in protocol.calls:
            transport.sendto(b"message")
        size = transport.get_write_buffer_size()
        assert size > 0
        while "resume_writing" not in protocol.calls:
            while True:
                try:
                    full.recv(100)
                except BlockingIOError:
                    break
            await turns(1)
        assert transport.get_write_buffer_size() == 0
        transport.close()
        await protocol.lost()


@pytest.mark.edgeloop_only  # asyncio has sent it already
async def test_an_abort_after_the_owner_has_closed_the_socket_sends_to_nobody_else() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect(peer.getsockname())
        transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, sock=sock)
        for _ in range(20):  # several a turn earn that the last of them wait for the end of the turn
            for _ in range(4):
                transport.sendto(b"x")
            await turns(1)
        for _ in range(4):
            transport.sendto(b"x")
        sock.close()
        transport.abort()
        assert await protocol.lost() is None


async def test_a_transport_says_what_it_is_when_all_is_over() -> None:
    ours, theirs = socket.socketpair()
    protocol = Recorder()
    transport = await attach(ours, protocol)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    await protocol.lost()
    await turns()
    assert transport.get_extra_info("socket").fileno() == -1
    assert "closed" in repr(transport)
