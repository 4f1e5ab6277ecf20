"""Protocols that remember what a transport called, and connections between one of them and a plain socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from sockets import tcp_pair

T = TypeVar("T")
AnyRecording = TypeVar("AnyRecording", bound="Recording")


class Run(Protocol):
    """The type of the ``run`` fixture."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], limit: float = ...) -> T: ...


def turn(loop: asyncio.AbstractEventLoop, times: int = 1) -> None:
    """Run what is scheduled now, and nothing that this schedules in turn; ``times`` turns of that kind."""
    for _ in range(times):
        loop.stop()
        loop.run_forever()


async def turns(count: int = 5) -> None:
    """Let the loop run that many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Look every millisecond; for what no callback tells of."""
    while not condition():
        await asyncio.sleep(0.001)


class Recording(asyncio.BaseProtocol):
    """Appends the name of each callback to ``calls`` and lets a test wait for what it expects."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.calls: list[str] = []
        self.received = bytearray()
        self.error: Exception | None = None
        self.transport: asyncio.Transport
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def note(self, call: str) -> None:
        self.calls.append(call)
        # Resolved one turn later, so that a test goes on after the callback has returned, as a caller would.
        self.loop.call_soon(self._resolve)

    def _resolve(self) -> None:
        for predicate, future in self._waiting:
            if not future.done() and predicate():
                future.set_result(None)

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Wait until ``predicate()`` is true, looking again after each callback."""
        if not predicate():
            future = self.loop.create_future()
            self._waiting.append((predicate, future))
            await future

    async def called(self, name: str, times: int = 1) -> None:
        await self.until(lambda: self.calls.count(name) >= times)

    async def lost(self) -> Exception | None:
        await self.called("connection_lost")
        return self.error

    async def bytes_in(self, count: int) -> bytes:
        await self.until(lambda: len(self.received) >= count)
        return bytes(self.received)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.note("connection_made")

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self.note("connection_lost")

    def pause_writing(self) -> None:
        self.note("pause_writing")

    def resume_writing(self) -> None:
        self.note("resume_writing")


class Recorder(Recording, asyncio.Protocol):
    """Gets its data through data_received; ``eof_received`` returns ``keep_open``."""

    keep_open: bool | None = None

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.received += data
        self.note("data_received")

    def eof_received(self) -> bool | None:
        self.note("eof_received")
        return self.keep_open


class Echo(asyncio.Protocol):
    """Sends back what it gets, and keeps nothing of it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferRecorder(Recording, asyncio.BufferedProtocol):
    """Gets its data through get_buffer and buffer_updated, in a buffer of ``size`` bytes."""

    size = 1000
    keep_open: bool | None = None

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(self.size)
        self.hints: list[int] = []

    def get_buffer(self, sizehint: int) -> bytearray:
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]
        self.note("buffer_updated")

    def eof_received(self) -> bool | None:
        self.note("eof_received")
        return self.keep_open


async def attach(sock: socket.socket, protocol: Any) -> Any:
    """A transport on a connected socket, for a protocol of any kind."""
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
    return transport


@contextlib.asynccontextmanager
async def connected(
    factory: Callable[[], AnyRecording], *, send_buffer: int | None = None
) -> AsyncIterator[tuple[asyncio.Transport, AnyRecording, socket.socket]]:
    """A TCP connection: the loop's transport and protocol at one end, a non-blocking socket at the other (see tcp_pair)."""
    ours, peer = tcp_pair(send_buffer)
    with peer:
        transport, protocol = await asyncio.get_running_loop().create_connection(factory, sock=ours)
        try:
            yield transport, protocol, peer
        finally:
            if "connection_lost" not in protocol.calls:
                transport.abort()
            await asyncio.sleep(0)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN (socket(7), SO_LINGER with a time of zero)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def receive(sock: socket.socket, count: int) -> bytes:
    """Exactly ``count`` bytes from a socket, or fewer where the peer ends the stream first."""
    loop = asyncio.get_running_loop()
    parts = []
    while count > 0 and (part := await loop.sock_recv(sock, min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


async def receive_all(sock: socket.socket) -> bytes:
    """Everything up to the peer's end of stream."""
    return await receive(sock, 1 << 62)


def record_errors(loop: asyncio.AbstractEventLoop) -> list[dict[str, Any]]:
    """Install an exception handler that keeps the contexts it is given, and return the list it fills."""
    contexts: list[dict[str, Any]] = []

    def keep(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        contexts.append(context)

    loop.set_exception_handler(keep)
    return contexts
