"""The context in which the exception handler is told what a protocol raised: the connection's, as on asyncio's own loop.

What reports errors (Sentry, OpenTelemetry, structured logs) looks for the request in context variables.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Failing(asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        raise ValueError("data_received")

    def eof_received(self) -> bool:
        raise ValueError("eof_received")


class FailingToGive(asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> bytearray:
        raise ValueError("get_buffer")


class FailingToTake(asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> bytearray:
        return bytearray(10)

    def buffer_updated(self, nbytes: int) -> None:
        raise ValueError("buffer_updated")


class FailingInConnectionMade(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raise ValueError("connection_made")


class FailingToWait(asyncio.Protocol):
    """Writes more than the socket or the pipe takes; a pause is told in the middle of ``connection_made``."""

    method = "pause_writing"

    def connection_made(self, transport: Any) -> None:
        transport.write(bytes(10_000_000))

    def pause_writing(self) -> None:
        if self.method == "pause_writing":
            raise ValueError("pause_writing")

    def resume_writing(self) -> None:
        raise ValueError("resume_writing")


class FailingToGoOn(FailingToWait):
    method = "resume_writing"


Opened = Callable[[Any, contextlib.AsyncExitStack], Awaitable[socket.socket]]


class FailingDatagrams(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: object) -> None:
        raise ValueError("datagram_received")


def fail_in_factory() -> asyncio.Protocol:
    raise ValueError("factory")


def send(peer: socket.socket) -> None:
    peer.sendall(b"x")


def end(peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_WR)


def read(peer: socket.socket) -> None:
    while len(peer.recv(1 << 20)) > 0:
        pass


def nothing(peer: socket.socket) -> None:
    pass


async def on_a_pair(method: str, protocol: Any, stack: contextlib.AsyncExitStack) -> socket.socket:
    ours, theirs = socket.socketpair()
    transport, _ = await getattr(asyncio.get_running_loop(), method)(protocol, ours)
    stack.callback(transport.close if method == "connect_read_pipe" else transport.abort)
    return theirs


async def accepted(protocol: Any, stack: contextlib.AsyncExitStack) -> socket.socket:
    return await on_a_pair("connect_accepted_socket", protocol, stack)


async def read_from(protocol: Any, stack: contextlib.AsyncExitStack) -> socket.socket:
    return await on_a_pair("connect_read_pipe", protocol, stack)


async def written_to(protocol: Any, stack: contextlib.AsyncExitStack) -> socket.socket:
    return await on_a_pair("connect_write_pipe", protocol, stack)


async def served(protocol: Any, stack: contextlib.AsyncExitStack) -> socket.socket:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    stack.callback(server.close)
    return socket.create_connection(server.sockets[0].getsockname())


async def datagrams(protocol: Any, stack: contextlib.AsyncExitStack) -> socket.socket:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(protocol, local_addr=("127.0.0.1", 0))
    stack.callback(transport.abort)
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.connect(transport.get_extra_info("sockname"))
    return peer


@pytest.mark.parametrize(
    ("opened", "protocol", "peer_does", "raised"),
    [
        (accepted, FailingInConnectionMade, nothing, "connection_made"),
        (accepted, Failing, send, "data_received"),
        (accepted, Failing, end, "eof_received"),
        (accepted, FailingToGive, send, "get_buffer"),
        (accepted, FailingToTake, send, "buffer_updated"),
        (accepted, FailingToWait, nothing, "pause_writing"),
        (accepted, FailingToGoOn, read, "resume_writing"),
        (served, Failing, send, "data_received"),
        # asyncio tells this in debug mode only
        pytest.param(served, fail_in_factory, nothing, "factory", marks=pytest.mark.edgeloop_only),
        (datagrams, FailingDatagrams, send, "datagram_received"),
        (read_from, FailingInConnectionMade, nothing, "connection_made"),
        (read_from, Failing, send, "data_received"),
        (written_to, FailingToWait, nothing, "pause_writing"),
        (written_to, FailingToGoOn, read, "resume_writing"),
    ],
)
async def test_what_a_protocol_raises_is_reported_in_its_context(
    opened: Opened, protocol: Any, peer_does: Callable[[socket.socket], None], raised: str
) -> None:
    loop = asyncio.get_running_loop()
    told: asyncio.Future[tuple[str, str]] = loop.create_future()

    def handler(loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        told.set_result((str(details["exception"]), variable.get()))
        loop.set_exception_handler(lambda *_: None)  # what comes of it

    loop.set_exception_handler(handler)

    async def as_the_connection() -> socket.socket:
        variable.set("the connection's")
        return await opened(protocol, stack)

    async with contextlib.AsyncExitStack() as stack:
        peer = await asyncio.create_task(as_the_connection())
        doing = loop.run_in_executor(None, peer_does, peer)
        assert await told == (raised, "the connection's")
    await doing
    peer.close()
    await asyncio.sleep(0)
