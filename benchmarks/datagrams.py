"""Services of datagrams, which are those of echo_datagrams.c."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from benchmarks.listening import keep, port_of

COUNTED = 1000


class EchoDatagrams(asyncio.DatagramProtocol):
    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: not every loop's transport passes for asyncio.DatagramTransport in isinstance.
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.transport.sendto(data, addr)


class CountDatagrams(EchoDatagrams):
    counted = 0

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.counted += 1
        if self.counted == COUNTED:
            self.counted = 0
            self.transport.sendto(b"\0", addr)


async def answer(protocol: Callable[[], asyncio.DatagramProtocol]) -> int:
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.bind(("127.0.0.1", 0))
    own.setblocking(False)
    port = port_of(own)
    keep.append(await asyncio.get_running_loop().create_datagram_endpoint(protocol, sock=own))
    return port


async def serve_datagrams(size: int, folder: Path) -> int:
    return await answer(EchoDatagrams)


async def serve_count(size: int, folder: Path) -> int:
    return await answer(CountDatagrams)


SERVICES: dict[str, Callable[[int, Path], Awaitable[int | str]]] = {"datagrams": serve_datagrams, "count": serve_count}
