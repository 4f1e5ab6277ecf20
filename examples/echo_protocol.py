"""A TCP echo server written as an asyncio Protocol: the shortest way from the socket to your code.

    python examples/echo_protocol.py --port 8007
    printf 'hello\n' | nc -N 127.0.0.1 8007
    python examples/echo_protocol.py --max-connections 1000 --max-connections-per-peer 10 --idle-timeout 60

The echo never holds more than one high-water mark for a client: when a client stops reading, the loop calls
pause_writing and the server stops reading from it in turn. Limits on connections are edgeloop's: without them the program
runs on any loop.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from typing import Any, cast

import edgeloop

# How long clients that don't read may delay the end of the process, in seconds.
GRACE = 5.0


class Echo(asyncio.Protocol):
    """One connection. ``open`` is the set of all of them; ``gone`` is done when this one has ended."""

    def __init__(self, open: set[Echo]) -> None:
        self.open = open
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.open.add(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    # eof_received stays as asyncio.Protocol has it: it returns None, so the transport closes itself, but only after
    # all that is still in its buffer has been sent. A client may half-close and still gets every byte back.

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.discard(self)
        self.gone.set_result(None)


async def serve(host: str, port: int, limits: dict[str, Any]) -> None:
    """Echo on ``host`` and ``port`` until SIGINT or SIGTERM. OSError if the address can't be had."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    connections: set[Echo] = set()
    server = await loop.create_server(lambda: Echo(connections), host, port, **limits)
    for listener in server.sockets:
        print("Echo at {}:{}".format(*listener.getsockname()[:2]), flush=True)
    await stop.wait()

    server.close()
    for connection in connections:
        connection.transport.close()
    if connections:
        await asyncio.wait([connection.gone for connection in connections], timeout=GRACE)
    for connection in connections:
        connection.transport.abort()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Echo over TCP, on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8007, help="0 lets the kernel choose (default: %(default)s)")
    limits = parser.add_argument_group("limits", "none, if they are not given")
    limits.add_argument("--max-connections", type=int, help="open at a time; more wait until one ends")
    limits.add_argument("--max-connections-per-peer", type=int, help="of one address; more are refused")
    limits.add_argument("--idle-timeout", type=float, help="seconds without a byte in either direction")
    limits.add_argument(
        "--write-timeout", type=float, help="seconds in which a client takes nothing of what waits for it"
    )
    arguments = vars(parser.parse_args())
    host, port = arguments.pop("host"), arguments.pop("port")
    edgeloop.run(serve(host, port, {name: value for name, value in arguments.items() if value is not None}))
