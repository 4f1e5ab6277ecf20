"""``connect_read_pipe`` and ``connect_write_pipe``. asyncio doc: Event Loop, Working with pipes."""

from __future__ import annotations

import asyncio
from typing import Any

from .. import stdlib
from ..transports.pipe import ReadPipeTransport, WritePipeTransport
from .connections import ProtocolFactory
from .servers import Servers


class Pipes(Servers):
    """Pipes, as a mixin of EventLoop."""

    async def connect_read_pipe(
        self, protocol_factory: ProtocolFactory, pipe: Any
    ) -> tuple[asyncio.ReadTransport, asyncio.BaseProtocol]:
        """Read from a pipe, FIFO, character device or socket, given as a file object; the transport and the protocol.

        The file becomes the transport's: it is made non-blocking, and closed at the end. ValueError for any other file.
        """
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = self.create_future()
        transport: Any = ReadPipeTransport(self, pipe, protocol, waiter)
        await self._connected_pipe("Read", pipe, transport, protocol, waiter)
        return transport, protocol

    async def connect_write_pipe(
        self, protocol_factory: ProtocolFactory, pipe: Any
    ) -> tuple[asyncio.WriteTransport, asyncio.BaseProtocol]:
        """Write to a pipe, FIFO, character device or socket, given as a file object; the transport and the protocol.

        The file becomes the transport's: it is made non-blocking, and closed at the end. ValueError for any other file.
        """
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = self.create_future()
        transport: Any = WritePipeTransport(self, pipe, protocol, waiter)
        await self._connected_pipe("Write", pipe, transport, protocol, waiter)
        return transport, protocol

    async def _connected_pipe(
        self,
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
        if self._debug:
            stdlib.logger().debug("%s pipe %r connected: (%r, %r)", direction, pipe.fileno(), transport, protocol)
