"""What was written is the caller's again: a bytearray may change its size, also where references are not counted."""

from __future__ import annotations

import asyncio
from typing import Any


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
