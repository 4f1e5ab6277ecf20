"""``connect_read_pipe`` and ``connect_write_pipe``. asyncio doc: Event Loop, Working with pipes."""

from __future__ import annotations

import asyncio
from typing import Any

from .. import stdlib
from ..transports.pipe import ReadPipeTransport, WritePipeTransport
from .connections import ProtocolFactory
from .tasks import Tasks


async def _connected(
    loop: Tasks,
    direction: str,
    pipe: Any,
    transport: asyncio.BaseTransport,
    protocol: asyncio.BaseProtocol,
    waiter: asyncio.Future[None],
) -> None:
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    if loop._debug:
        stdlib.logger().debug("%s pipe %r connected: (%r, %r)", direction, pipe.fileno(), transport, protocol)


class Pipes(Tasks):
    """Pipes, as a mixin of EventLoop."""

    async def connect_read_pipe(
        self, protocol_factory: ProtocolFactory, pipe: Any
    ) -> tuple[asyncio.ReadTransport, asyncio.BaseProtocol]:
        """Read from a pipe, FIFO, character device or socket, a file object; return the transport and the protocol.

        The transport owns the file from now on: it makes it non-blocking and closes it. ValueError for any other file.
        """
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = self.create_future()
        transport: Any = ReadPipeTransport(self, pipe, protocol, waiter)
        await _connected(self, "Read", pipe, transport, protocol, waiter)
        return transport, protocol

    async def connect_write_pipe(
        self, protocol_factory: ProtocolFactory, pipe: Any
    ) -> tuple[asyncio.WriteTransport, asyncio.BaseProtocol]:
        """Write to a pipe, FIFO, character device or socket, a file object; return the transport and the protocol.

        The transport owns the file from now on: it makes it non-blocking and closes it. ValueError for any other file.
        """
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = self.create_future()
        transport: Any = WritePipeTransport(self, pipe, protocol, waiter)
        await _connected(self, "Write", pipe, transport, protocol, waiter)
        return transport, protocol
