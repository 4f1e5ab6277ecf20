"""trio as a guest of the loop: sockets of both in one thread."""

from __future__ import annotations

import asyncio
import os
import socket

import trio
from trio_guests import both_ways, guest

DATA = os.urandom(1 << 20) * 4


async def trio_echo(stream: trio.SocketStream) -> None:
    async for chunk in stream:
        await stream.send_all(chunk)


async def asyncio_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


async def test_asyncio_clients_of_a_trio_server() -> None:
    """Four at once, and megabytes each, so that both sides have to wait for the other."""

    async def client(address: tuple[str, int]) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(DATA)
        writer.write_eof()
        echo = await reader.read()
        writer.close()
        await writer.wait_closed()
        return echo

    listening: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    scope = trio.CancelScope()

    async def in_trio() -> None:
        with scope:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            listening.set_result(listener.socket.getsockname())
            await trio.serve_listeners(trio_echo, [listener])

    server = asyncio.ensure_future(guest(in_trio))
    address = await listening
    echoes = await asyncio.gather(*(client(address) for _ in range(4)))
    assert echoes == [DATA] * 4
    scope.cancel()
    await server


async def test_trio_clients_of_an_asyncio_server() -> None:
    async def client(address: tuple[str, int], echoes: list[bytes]) -> None:
        stream = await trio.open_tcp_stream(*address)
        async with stream, trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(DATA)
                await stream.send_eof()

            nursery.start_soon(send)
            echoes.append(b"".join([chunk async for chunk in stream]))

    server = await asyncio.start_server(asyncio_echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    echoes: list[bytes] = []

    async def in_trio() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(client, address, echoes)

    await guest(in_trio)
    server.close()
    await server.wait_closed()
    assert echoes == [DATA] * 4


@both_ways
async def test_the_two_ends_of_one_socket_pair(threadsafe_only: bool) -> None:
    """Ten thousand small messages, each waits for the one before: an edge lost on either side would be a hang."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)

    async def in_trio() -> int:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        async with stream:
            return await echo_lines(stream)

    async def echo_lines(stream: trio.SocketStream) -> int:
        received = 0
        async for chunk in stream:
            received += len(chunk)
            await stream.send_all(chunk)
        return received

    there = asyncio.ensure_future(guest(in_trio, threadsafe_only=threadsafe_only))
    for number in range(10_000):
        message = b"%05d" % number
        writer.write(message)
        assert await reader.readexactly(5) == message
    writer.close()
    assert await there == 50_000
    await writer.wait_closed()
