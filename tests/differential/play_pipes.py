"""Programs of pipe transports, and of a child with a pipe at each of its ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from play_transports import SMALL, content
from worker_stage import ProgramStage, play_on
from worker_traces import Trace, attempt, settle

#: What a child does: each is done at once, or waits for its input to end.
CHILDREN = {
    "cat": "cat",
    "exit": "exit 3",
    "speak": "printf out; printf err >&2; exit 1",
    "head": "head -c 5",
    "kill": "kill -TERM $$",
}


class End(asyncio.Protocol):
    """Notes what a pipe's transport calls, and does what the program wants it to do the first time."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name
        self.reactions = dict(stage.program["reactions"])

    def react(self, callback: str) -> None:
        action = self.reactions.pop(callback, None)
        if action is not None:
            self.stage.act(self.name, action)

    def connection_made(self, transport: Any) -> None:
        self.stage.transports[self.name] = transport
        self.stage.trace.note(self.name, "connection_made")
        self.react("connection_made")

    def connection_lost(self, exc: Exception | None) -> None:
        self.stage.trace.note(self.name, "connection_lost", exc)
        self.react("connection_lost")

    def data_received(self, data: bytes) -> None:
        self.stage.trace.data(self.name, "data", data)
        self.react("data_received")

    def eof_received(self) -> None:
        self.stage.trace.note(self.name, "eof_received")
        self.react("eof_received")

    def pause_writing(self) -> None:
        self.stage.trace.note(self.name, "pause_writing")
        self.react("pause_writing")

    def resume_writing(self) -> None:
        self.stage.trace.note(self.name, "resume_writing")


class Child(asyncio.SubprocessProtocol):
    """Notes what the transport of a child calls: its pipes have no order among each other."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def connection_made(self, transport: Any) -> None:
        self.stage.child = transport
        self.stage.trace.note("child", "connection_made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.stage.trace.data(f"pipe {fd}", "data", data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        # Which error a pipe without a reader ends by depends on who looks first.
        self.stage.trace.note(f"pipe {fd}", "lost", exc if fd else None)

    def process_exited(self) -> None:
        self.stage.trace.note("child", "exited", self.stage.child.get_returncode())

    def connection_lost(self, exc: Exception | None) -> None:
        self.stage.trace.note("child", "connection_lost", exc)
        self.stage.over.set_result(None)


class Stage(ProgramStage):
    """Two pipe transports with the other ends of their pipes, or a child."""

    def __init__(self, program: dict[str, Any], trace: Trace, loop: Any, ending: contextlib.ExitStack) -> None:
        super().__init__(program, trace, loop, ending)
        if sys.version_info < (3, 12):
            asyncio.get_child_watcher().attach_loop(loop)
        self.transports: dict[str, Any] = {}
        self.written = 0
        self.child: Any = None
        self.over: asyncio.Future[None] = loop.create_future()

    async def connect(self) -> None:
        """Make the transports, on what the program names."""
        if self.program["on"] == "child":
            command = CHILDREN[self.program["child"]]
            await self.loop.subprocess_shell(lambda: Child(self), command)
            return
        if self.program["on"] == "pipe":
            reading, self.feeding = os.pipe()
            self.draining, writing = os.pipe()
        else:
            (ours, theirs), (mine, yours) = socket.socketpair(), socket.socketpair()
            reading, self.feeding, writing, self.draining = (
                ours.detach(),
                theirs.detach(),
                mine.detach(),
                yours.detach(),
            )
        os.set_blocking(self.draining, False)
        os.set_blocking(self.feeding, False)
        self.open = {self.draining, self.feeding}
        await self.loop.connect_read_pipe(lambda: End(self, "reader"), os.fdopen(reading, "rb", 0))
        await self.loop.connect_write_pipe(lambda: End(self, "writer"), os.fdopen(writing, "wb", 0))

    def act(self, who: str, action: list[Any]) -> None:
        name, *arguments = action
        getattr(self, "do_" + name)(who, *arguments)

    def do_call(self, who: str, side: str, name: str, *arguments: Any) -> None:
        transport = self.pipe(0 if side == "writer" else 1) if self.child else self.transports.get(side)
        if transport is not None:
            attempt(self.trace, who, f"{side} {name}", lambda: getattr(transport, name)(*arguments))

    def pipe(self, fd: int) -> Any:
        return self.child.get_pipe_transport(fd)

    def do_write(self, who: str, count: int) -> None:
        transport = self.pipe(0) if self.child else self.transports.get("writer")
        if transport is not None:
            data = content(count, self.written)
            self.written += count
            attempt(self.trace, who, "write", lambda: transport.write(data))

    def do_child(self, who: str, name: str, *arguments: Any) -> None:
        if self.child:
            attempt(self.trace, who, name, lambda: getattr(self.child, name)(*arguments))

    def do_raise(self, who: str) -> None:
        raise ValueError("wanted")

    def do_feed(self, who: str, count: int) -> None:
        """Something for the reading transport."""
        if not self.child and self.feeding in self.open:
            with contextlib.suppress(BlockingIOError):
                attempt(self.trace, "peer", "write", lambda: os.write(self.feeding, content(count)))

    def do_end(self, who: str, which: str) -> None:
        """The other end of a pipe is closed."""
        if not self.child:
            fd = self.feeding if which == "reader" else self.draining
            if fd in self.open:
                self.open.remove(fd)
                os.close(fd)

    async def drain(self) -> None:
        """Read what the writing transport writes."""
        if self.child:
            return

        def take(data: bytes) -> None:
            if self.written <= SMALL:
                self.trace.data("peer", "read", data)

        await self.read_all(
            "read", lambda: os.read(self.draining, 1 << 20), lambda: self.draining in self.open, take, 3
        )

    async def child_ends(self) -> None:
        """Nothing settles while a child works: its input ends, and then it does."""
        if not self.over.done():
            writer = self.pipe(0)
            if writer is not None:
                writer.close()
            await self.over
        self.trace.note("child", "over", self.child.get_returncode())

    async def play(self) -> None:
        await self.connect()
        await settle(self.trace, self.patience)
        for step in self.program["steps"]:
            if not self.child:
                self.trace.next_step(*step)
            if step[0] == "drain":
                await self.drain()
            else:
                self.act("step", step)
            if not self.child:
                await settle(self.trace, self.patience)
        if self.child:
            await self.child_ends()
            return
        self.trace.next_step("end")
        await self.drain()
        for transport in self.transports.values():
            getattr(transport, "abort", transport.close)()
        for fd in self.open:
            os.close(fd)
        await settle(self.trace, self.patience)


def play(program: dict[str, Any], factory: Callable[[], asyncio.AbstractEventLoop], trace: Trace) -> None:
    play_on(Stage, program, factory, trace)
