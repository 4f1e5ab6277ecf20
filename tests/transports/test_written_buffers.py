"""What was written is the caller's again: a bytearray may change its size, also where references are not counted."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tls_certificates import client_context, server_context


class Exporter(bytearray):
    """A buffer that counts the views of it that somebody has."""

    views = 0
    taken = 0

    def __buffer__(self, flags: int, /) -> memoryview:
        self.views += 1
        self.taken += 1
        return super().__buffer__(flags)

    def __release_buffer__(self, view: memoryview, /) -> None:
        self.views -= 1
        super().__release_buffer__(view)


class Failing(Exporter):
    """A buffer that has no memory for a view."""

    def __buffer__(self, flags: int, /) -> memoryview:
        raise MemoryError


counts_views = pytest.mark.skipif(sys.version_info < (3, 12), reason="a Python class has views since 3.12, PEP 688")


async def open_stream() -> tuple[Any, Any]:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
    return transport, theirs


async def open_tls() -> tuple[Any, Any]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    (transport, _), (other, _) = await asyncio.gather(
        loop.create_connection(asyncio.Protocol, sock=ours, ssl=client_context(), server_hostname="localhost"),
        loop.connect_accepted_socket(asyncio.Protocol, theirs, ssl=server_context()),
    )
    return transport, other


async def open_pipe() -> tuple[Any, Any]:
    reading, writing = os.pipe()
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.Protocol, open(writing, "wb", 0))
    return transport, open(reading, "rb", 0)


async def open_datagrams() -> tuple[Any, Any]:
    loop = asyncio.get_running_loop()
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=receiver.getsockname())
    return transport, receiver


@counts_views
@pytest.mark.edgeloop_only  # asyncio's keeps a view until all is sent
@pytest.mark.parametrize(
    ("opened", "method"),
    [
        (open_stream, "write"),
        (open_stream, "writelines"),
        (open_tls, "write"),
        (open_pipe, "write"),
        (open_datagrams, "sendto"),
    ],
)
async def test_no_view_of_what_was_written_is_kept(opened: Callable[[], Any], method: str) -> None:
    transport, peer = await opened()

    def write(data: Any) -> None:
        getattr(transport, method)([data] if method == "writelines" else data)

    for data in (Exporter(b"some"), Exporter(b"more"), Exporter()):
        write(data)
        assert data.views == 0
        data.extend(b"may grow")
    data = Exporter(b"seen by another's view")
    with memoryview(data) as view:
        write(view[::2])
        assert data.views == 1
    assert data.views == 0 and data.taken == 1
    with pytest.raises(MemoryError):
        write(Failing(b"data"))
    transport.close()
    peer.close()
    await asyncio.sleep(0)


async def test_what_was_written_to_a_stream_may_grow() -> None:
    written = bytearray(b"one\n")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(written)
        written.extend(b"more")
        writer.writelines([written, memoryview(b"\n")])
        written.clear()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b"one\none\nmore\n"
    writer.close()
    server.close()
    await server.wait_closed()


async def test_what_was_sent_as_a_datagram_may_grow() -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: Any) -> None:
            arrived.put_nowait(data)

    loop = asyncio.get_running_loop()
    receiver, _ = await loop.create_datagram_endpoint(Receiver, ("127.0.0.1", 0))
    sender, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=receiver.get_extra_info("sockname")
    )
    sent = bytearray(b"datagram")
    sender.sendto(sent)
    sent.clear()
    assert await arrived.get() == b"datagram"
    sender.close()
    receiver.close()
