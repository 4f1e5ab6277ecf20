"""Programs of asyncio's streams, and of edgeloop's own in place of them: a reader and a writer, each with calls that wait."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Any

from play_transports import content
from worker_stage import StageWithPeer, play_on
from worker_traces import Trace, attempt, settle

SMALL = 20000


def streams_of(loop: asyncio.AbstractEventLoop, program: dict[str, Any]) -> Any:
    """The module whose functions a program calls: on edgeloop its own, if the program wants that."""
    return (
        sys.modules["edgeloop"].streams if program["own"] and type(loop).__module__.startswith("edgeloop") else asyncio
    )


class Stage(StageWithPeer):
    """A connection of streams, the socket at the other end, and the tasks that wait."""

    def __init__(self, program: dict[str, Any], trace: Trace, loop: Any, ending: contextlib.ExitStack) -> None:
        super().__init__(program, trace, loop, ending)
        self.streams = streams_of(loop, program)
        self.tasks: list[Any] = []
        self.reader: Any = None
        self.writer: Any = None
        self.peer: socket.socket
        self.sent = 0
        self.lossy = False
        self.sides = 0

    async def connect(self) -> None:
        """Make the connection from the side that the program names."""
        limits = {} if self.program["limit"] is None else {"limit": self.program["limit"]}
        if self.program["side"] == "client":
            with socket.create_server(("127.0.0.1", 0)) as listening:
                self.reader, self.writer = await self.streams.open_connection(*listening.getsockname(), **limits)
                self.peer, _ = listening.accept()
        elif self.program["side"] == "pair":
            ours, self.peer = socket.socketpair()
            self.reader, self.writer = await self.streams.open_connection(sock=ours, **limits)
        else:
            served: asyncio.Future[Any] = self.loop.create_future()
            behaviour = self.program["side"]

            async def serve(reader: Any, writer: Any) -> None:
                served.set_result((reader, writer))
                if behaviour == "server that fails":
                    await reader.readline()
                    raise ValueError("from the server's callback")
                if behaviour == "server that is cancelled":
                    await asyncio.sleep(0)

            server = await self.streams.start_server(serve, "127.0.0.1", 0, **limits)
            self.peer = socket.create_connection(server.sockets[0].getsockname())
            self.reader, self.writer = await served
            server.close()
        self.ending.enter_context(self.peer)
        self.peer.setblocking(False)

    # Each call that waits is a task

    def do_call(self, name: str, *arguments: Any) -> None:
        number = len(self.tasks)
        given = [word.encode() if isinstance(word, str) else word for word in arguments]
        self.tasks.append(self.loop.create_task(self.call(f"call {number}", name, given)))

    async def call(self, who: str, name: str, arguments: list[Any]) -> None:
        owner = self.writer if name in ("drain", "wait_closed") else self.reader
        try:
            if name == "iterate":
                async for line in self.reader:
                    self.trace.note(who, "line", line)
                result = None
            else:
                result = await getattr(owner, name)(*arguments)
        except asyncio.IncompleteReadError as exc:
            self.trace.note(who, name, "incomplete", exc.partial, exc.expected)
        except asyncio.LimitOverrunError as exc:
            self.trace.note(who, name, "overrun", exc.consumed)
        except (Exception, asyncio.CancelledError) as exc:
            self.trace.note(who, name, "raised", exc)
        else:
            self.trace.note(who, name, result)

    def do_cancel(self, which: int) -> None:
        if self.tasks:
            self.tasks[which % len(self.tasks)].cancel()

    def do_now(self, side: str, name: str, *arguments: Any) -> None:
        """A call that doesn't wait."""
        if name in ("transport", "_buffer"):
            return
        owner = self.writer if side == "writer" else self.reader
        attempt(self.trace, side, name, lambda: getattr(owner, name)(*arguments))

    def do_write(self, count: int) -> None:
        self.lossy = self.lossy or count > SMALL
        attempt(self.trace, "writer", "write", lambda: self.writer.write(content(count)))

    def do_writelines(self, counts: list[int]) -> None:
        attempt(
            self.trace, "writer", "writelines", lambda: self.writer.writelines([content(count) for count in counts])
        )

    def do_feed(self, text: str) -> None:
        attempt(self.trace, "reader", "feed_data", lambda: self.reader.feed_data(text.encode()))

    def do_set_exception(self, name: str) -> None:
        attempt(
            self.trace,
            "reader",
            "set_exception",
            lambda: self.reader.set_exception({"ValueError": ValueError, "OSError": OSError}[name]("set")),
        )

    def do_state(self) -> None:
        self.trace.note(
            "reader",
            "state",
            self.reader.at_eof(),
            self.reader.exception(),
            self.writer.is_closing(),
            self.writer.can_write_eof(),
        )

    # The peer

    def do_peer_write(self, text: str, times: int = 1) -> None:
        with contextlib.suppress(BlockingIOError):
            attempt(self.trace, "peer", "send", lambda: self.peer.send(text.encode() * times))

    async def peer_read(self) -> None:
        def take(data: bytes) -> None:
            if self.lossy:
                self.trace.moved += 1
            else:
                self.trace.data("peer", "read", data)

        await self.read_peer(3 + self.patience, take)

    async def play(self) -> None:
        await self.connect()
        await settle(self.trace, self.patience)
        for step in self.program["steps"]:
            self.trace.next_step(*step)
            for name, *arguments in step[1] if step[0] == "together" else [step]:
                if name == "peer_read":
                    await self.peer_read()
                else:
                    getattr(self, "do_" + name)(*arguments)
            await settle(self.trace, self.patience)
        self.trace.next_step("end")
        await self.peer_read()
        for task in self.tasks:
            task.cancel()
        self.writer.transport.abort()
        await settle(self.trace, self.patience)


def play(program: dict[str, Any], factory: Callable[[], asyncio.AbstractEventLoop], trace: Trace) -> None:
    play_on(Stage, program, factory, trace)
