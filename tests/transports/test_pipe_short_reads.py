"""Reads that end early though more waits (rule 2): of what is no plain stream, only EAGAIN says that it is empty."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import select
import socket
import struct
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pipe_recording import PipeRecorder
from sockets import send_from_another_process, tcp_pair

Loop = asyncio.AbstractEventLoop


@contextlib.asynccontextmanager
async def reading(sock: socket.socket) -> AsyncIterator[PipeRecorder]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_read_pipe(PipeRecorder, open(sock.detach(), "rb", 0))
    yield protocol
    transport.close()
    await protocol.lost()


async def test_descriptors_that_come_along() -> None:
    """unix(7): a read ends where a message with SCM_RIGHTS begins and where it ends."""
    ours, theirs = socket.socketpair()
    with theirs, open("/dev/null") as file:
        async with reading(ours) as protocol:
            for _ in range(3):
                theirs.send(b"plain")
                rights = array.array("i", [file.fileno()])
                theirs.sendmsg([b"with a file"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                theirs.send(b"plain")
            assert await protocol.bytes_in(63) == b"plainwith a fileplain" * 3


async def test_credentials_of_another_writer() -> None:
    """unix(7), SO_PASSCRED: a read ends where the messages of another process begin."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with theirs:
        send_from_another_process(theirs, b"from the child")
        theirs.send(b"from the parent")
        async with reading(ours) as protocol:
            assert await protocol.bytes_in(29) == b"from the childfrom the parent"
            theirs.send(b"later")
            await protocol.bytes_in(34)


@pytest.mark.parametrize("inline", [False, True])
async def test_urgent_data(inline: bool) -> None:
    """tcp(7): a read ends at the urgent mark."""
    ours, theirs = tcp_pair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)
    with theirs:
        theirs.send(b"before")
        theirs.send(b"!", socket.MSG_OOB)
        theirs.send(b"after")
        expected = b"before!after" if inline else b"beforeafter"
        async with reading(ours) as protocol:
            assert await protocol.bytes_in(len(expected)) == expected


async def test_packets_behind_plain_bytes() -> None:
    """pipe(2), O_DIRECT: the writer may turn it on later; a read ends behind the first packet, and may be large."""
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
    os.write(write, b"x" * (3 * select.PIPE_BUF))
    fcntl.fcntl(write, fcntl.F_SETFL, os.O_DIRECT)
    os.write(write, b"first")
    os.write(write, b"second")
    transport, protocol = await loop.connect_read_pipe(PipeRecorder, open(read, "rb", 0))
    received = await protocol.bytes_in(3 * select.PIPE_BUF + 11)
    assert received.endswith(b"xfirstsecond")
    os.close(write)
    assert await protocol.lost() is None
    assert transport.is_closing()


class Datagrams(PipeRecorder):
    """``parts``: the data of each."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.data_received(data)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="before that asyncio takes SOCK_DGRAM only")
async def test_a_sequence_of_packets_after_each_other(loop: Loop) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, open("/dev/null") as file:
        transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=ours)
        rights = array.array("i", [file.fileno()])
        for count in (1, 3, 70):
            protocol.parts.clear()
            protocol.received.clear()
            for _ in range(count):
                theirs.sendmsg([b"packet"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            await protocol.bytes_in(6 * count)
            assert protocol.parts == [b"packet"] * count
        transport.close()
        await protocol.lost()
        await asyncio.sleep(0)


async def test_errors_between_datagrams(loop: Loop) -> None:
    """recvmmsg(2) ends at an error and keeps it for the next call; ICMP's are queued with IP_RECVERR, ip(7)."""

    class Counting(Datagrams):
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[Exception] = []

        def error_received(self, exc: Exception) -> None:
            self.errors.append(exc)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nowhere = gone.getsockname()
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.bind(("127.0.0.1", 0))
    ours.setsockopt(socket.SOL_IP, 11, struct.pack("i", 1))  # IP_RECVERR
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        transport, protocol = await loop.create_datagram_endpoint(Counting, sock=ours)
        address = transport.get_extra_info("sockname")
        for number in range(50):
            peer.sendto(b"%02d" % number, address)
            if number % 10 == 5:
                transport.sendto(b"x", nowhere)
        assert await protocol.bytes_in(100) == b"".join(b"%02d" % number for number in range(50))
        peer.sendto(b"later", address)
        await protocol.bytes_in(105)
        transport.close()
        await protocol.lost()
        await asyncio.sleep(0)
