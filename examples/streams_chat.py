r"""A chat room over TCP, written with asyncio streams.

    python examples/streams_chat.py --port 8008
    nc 127.0.0.1 8008          # once for each person; the first line you type is your name

``/who`` lists who is there, ``/history`` repeats what was said, ``/quit`` or Ctrl-D leaves. Lines are UTF-8.

Nobody can hold up the room: each member has a queue of lines and a task that sends them. Whoever stops reading until
that queue is full is dropped, and the others never notice.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import deque
from typing import cast

import edgeloop

LONGEST_LINE = 4096  # bytes that one line may have
HISTORY = 1000  # lines that /history repeats
BEHIND = 1000  # lines that a member may be behind before it is dropped
GRACE = 5.0  # seconds for reading what is still queued, when a member leaves or the room closes


class Member:
    """One person in the room, and the lines on their way to them (None ends them)."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.lines: asyncio.Queue[str | None] = asyncio.Queue(BEHIND)

    def tell(self, line: str | None) -> None:
        """Queue one line. A full queue ends the connection; this member's reader then sees the end of its stream."""
        try:
            self.lines.put_nowait(line)
        except asyncio.QueueFull:
            self.writer.transport.abort()

    async def send(self) -> None:
        """Send the lines. drain() waits for as long as the client doesn't read; ConnectionError when it is gone."""
        while (line := await self.lines.get()) is not None:
            self.writer.write(line.encode() + b"\n")
            await self.writer.drain()


class Room:
    """Who is here, and what was said."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.visits: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.said: deque[str] = deque(maxlen=HISTORY)

    def announce(self, line: str) -> None:
        """Tell everybody, the speaker too."""
        self.said.append(line)
        for member in self.members.values():
            member.tell(line)

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its name to its end (asyncio.start_server's client_connected_cb)."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self.visits[task] = writer
        try:
            if name := await self.ask_name(reader, writer):
                await self.take_part(name, reader, writer)
        except ConnectionError:
            pass  # the client is gone, there is nobody left to tell
        except ValueError as reason:  # a line longer than the limit, or not UTF-8
            writer.write(f"* goodbye: {reason}\n".encode())
        finally:
            writer.close()
            del self.visits[task]

    async def close(self) -> None:
        """Hang up on everybody, as each of them could have done; cut off who doesn't read to the end."""
        for writer in self.visits.values():
            writer.close()
        if self.visits:
            await asyncio.wait(list(self.visits), timeout=GRACE)
        for writer in self.visits.values():
            writer.transport.abort()

    async def ask_name(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        """The first name offered that nobody here has; None if the client leaves before."""
        writer.write(b"* your name?\n")
        while line := await reader.readline():
            name = line.decode().strip()
            if name and name not in self.members:
                return name
            writer.write(b"* another name, please\n")
            await writer.drain()
        return None

    async def take_part(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what a member says until it quits or half-closes, then finish sending what it asked for."""
        member = self.members[name] = Member(writer)
        sender = asyncio.create_task(member.send())
        self.announce(f"* {name} has joined")
        try:
            while line := await reader.readline():
                text = line.decode().rstrip("\r\n")
                if text == "/quit":
                    break
                if text == "/who":
                    member.tell("* here: " + ", ".join(self.members))
                elif text == "/history":
                    member.tell("\n".join("| " + earlier for earlier in self.said))
                else:
                    self.announce(f"{name}: {text}")
            member.tell(None)
            await asyncio.wait_for(sender, GRACE)
        except TimeoutError:
            writer.transport.abort()
        finally:
            sender.cancel()
            del self.members[name]
            self.announce(f"* {name} has left")


async def serve(host: str, port: int) -> None:
    """Keep the room open on ``host`` and ``port`` until SIGINT or SIGTERM. OSError if the address can't be had."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    room = Room()
    server = await asyncio.start_server(room.visit, host, port, limit=LONGEST_LINE)
    for listener in server.sockets:
        print("Chat at {}:{}".format(*listener.getsockname()[:2]), flush=True)
    await stop.wait()
    server.close()
    await room.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A chat room over TCP, on edgeloop.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8008, help="0 lets the kernel choose (default: %(default)s)")
    arguments = parser.parse_args()
    edgeloop.run(serve(arguments.host, arguments.port))
