"""Attributes that a program sets on a transport: asyncio's take any, and a method may be put over one of theirs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from recording import Run, attach
from tls_certificates import client_context, server_context
from whole_collection import collect_all


@contextlib.asynccontextmanager
async def stream(tls: bool = False) -> AsyncIterator[Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context() if tls else None)
    async with server:
        address = server.sockets[0].getsockname()
        context: dict[str, Any] = {"ssl": client_context(), "server_hostname": "localhost"} if tls else {}
        _, writer = await asyncio.open_connection(*address, **context)
        yield writer.transport
        writer.close()
        await writer.wait_closed()


def encrypted() -> AbstractAsyncContextManager[Any]:
    return stream(tls=True)


@contextlib.asynccontextmanager
async def datagram() -> AsyncIterator[Any]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    yield transport
    transport.close()


@contextlib.asynccontextmanager
async def pipe() -> AsyncIterator[Any]:
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb", buffering=0) as file:
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, file)
        yield transport
        transport.close()


@pytest.mark.parametrize(
    ("kind", "method"), [(stream, "write"), (encrypted, "write"), (pipe, "write"), (datagram, "sendto")]
)
async def test_attributes_can_be_set(kind: Callable[[], AbstractAsyncContextManager[Any]], method: str) -> None:
    async with kind() as transport:
        sent: list[bytes] = []
        transport.note = "ours"
        assert transport.note == "ours"
        setattr(transport, method, sent.append)
        getattr(transport, method)(b"kept here")
        assert sent == [b"kept here"]
        delattr(transport, method)
        assert getattr(transport, method) != sent.append
        assert not hasattr(transport, "another")


def test_a_transport_that_holds_itself_is_collected(run: Run) -> None:
    """What an attribute refers to is the garbage collector's business like everything else."""
    alive: list[weakref.ref[Any]] = []

    async def main() -> None:
        for kind in (stream, encrypted, datagram):
            async with kind() as transport:
                transport.itself = transport
                alive.append(weakref.ref(transport))
            del transport
            await asyncio.sleep(0)

    run(main())
    collect_all()
    assert [ref() for ref in alive] == [None, None, None]


def test_a_closed_transport_is_freed_though_nothing_takes_its_number(run: Run) -> None:
    async def main() -> weakref.ref[Any]:
        ours, theirs = socket.socketpair()
        with theirs:
            transport = await attach(ours, asyncio.Protocol())
            number = transport.get_extra_info("socket").fileno()
            transport.abort()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(number)
            return weakref.ref(transport)

    closed = run(main())
    gc.collect()
    assert closed() is None


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
def test_a_pipe_may_be_taken_from_a_transport_of_a_closed_loop(loop: Any, method: str) -> None:
    """As asyncio's own tests do: there is nothing left to close, and nothing to warn of."""
    ends = os.pipe()
    near, far = ends if method == "connect_read_pipe" else reversed(ends)

    with open(far, "rb" if method == "connect_write_pipe" else "wb", buffering=0):
        file = open(near, "rb" if method == "connect_read_pipe" else "wb", buffering=0)
        transport, _ = loop.run_until_complete(getattr(loop, method)(asyncio.Protocol, file))
        loop.close()
        file.close()
        transport._pipe = None
        del transport
        gc.collect()
