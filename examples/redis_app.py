r"""Rooms to talk in, shared by any number of these servers: Redis carries each line from one to the others.

    python examples/redis_app.py --port 8010 --redis redis://localhost:6379/0
    python examples/redis_app.py --port 8011 --redis redis://localhost:6379/0
    nc 127.0.0.1 8010          # the first line you type is the room; what was said there last comes back
    nc 127.0.0.1 8011

Each server has one subscription, for all of its clients. A line is stored and published in one transaction, so what a
client is shown at first and what it hears then have nothing between them. While Redis is away nobody is
thrown out: the subscription is renewed, and what a client says waits until it can be stored.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import defaultdict

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

import edgeloop

LONGEST_LINE = 4096  # bytes that one line may have
HISTORY = 50  # lines that are kept of each room
BEHIND = 1 << 20  # bytes that a client may be behind before it is cut off


class Rooms:
    """The clients of this server, by room, and the way to everybody else's."""

    def __init__(self, address: str) -> None:
        patient = Retry(ExponentialBackoff(cap=1, base=0.01), -1)
        self.client = redis.from_url(address, retry=patient)
        self.here: defaultdict[str, set[asyncio.StreamWriter]] = defaultdict(set)
        self.visits: set[asyncio.StreamWriter] = set()
        self.subscribed = asyncio.Event()

    async def listen(self) -> None:
        """Hand what is said anywhere to the clients that are in that room here. Runs until it is cancelled."""
        async with self.client.pubsub() as pubsub:
            await pubsub.psubscribe("room:*")
            async for message in pubsub.listen():
                if message["type"] == "psubscribe":
                    self.subscribed.set()
                    continue
                room = message["channel"].decode().removeprefix("room:")
                for writer in self.here.get(room, ()):
                    writer.write(message["data"] + b"\n")
                    if writer.transport.get_write_buffer_size() > BEHIND:
                        writer.transport.abort()

    async def say(self, room: str, line: bytes) -> None:
        async with self.client.pipeline() as pipeline:
            pipeline.rpush(f"history:{room}", line)
            pipeline.ltrim(f"history:{room}", -HISTORY, -1)
            pipeline.publish(f"room:{room}", line)
            await pipeline.execute()

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from the name of its room to its end (asyncio.start_server's client_connected_cb)."""
        self.visits.add(writer)
        room = ""
        try:
            room = (await reader.readline()).decode().strip()
            if not room:
                return
            for line in await self.client.lrange(f"history:{room}", 0, -1):
                writer.write(b"| " + line + b"\n")
            self.here[room].add(writer)
            writer.write(b"* you are in\n")
            while line := await reader.readline():
                await self.say(room, line.rstrip(b"\r\n"))
        except (ConnectionError, ValueError):  # the client is gone; a line that is too long or a room not UTF-8
            pass
        finally:
            self.here[room].discard(writer)
            if not self.here[room]:
                del self.here[room]
            self.visits.discard(writer)
            writer.close()


async def serve(host: str, port: int, address: str) -> None:
    """Serve until SIGINT or SIGTERM. OSError if the address can't be had."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    rooms = Rooms(address)
    listening = asyncio.create_task(rooms.listen())
    await asyncio.wait([listening, asyncio.create_task(rooms.subscribed.wait())], return_when=asyncio.FIRST_COMPLETED)
    server = await asyncio.start_server(rooms.visit, host, port, limit=LONGEST_LINE)
    print("Rooms at {}:{}".format(*server.sockets[0].getsockname()[:2]), flush=True)
    await stop.wait()
    server.close()
    for writer in rooms.visits:
        writer.close()
    listening.cancel()
    await asyncio.wait([listening])
    await rooms.client.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rooms to talk in, shared through Redis, on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8010, help="0 lets the kernel choose (default: %(default)s)")
    parser.add_argument("--redis", default="redis://localhost:6379/0", help="where Redis is (default: %(default)s)")
    arguments = parser.parse_args()
    edgeloop.run(serve(arguments.host, arguments.port, arguments.redis))
