"""What the stages of programs have in common: a stage is what the steps of a program are played on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

from worker_traces import Trace, attempt, handler_of, settle


class ProgramStage:
    """What the steps of one program are played on. ``ending`` ends it."""

    def __init__(self, program: dict[str, Any], trace: Trace, loop: Any, ending: contextlib.ExitStack) -> None:
        self.program = program
        self.trace = trace
        self.loop = loop
        self.ending = ending
        self.patience: int = program.get("patience", 0)

    async def play(self) -> None:
        """Play all steps, and end."""
        raise NotImplementedError

    async def read_all(
        self,
        name: str,
        read: Callable[[], bytes],
        is_open: Callable[[], bool],
        take: Callable[[bytes], object],
        turns: int,
    ) -> None:
        """Read what comes for the other side, until nothing has come ``turns`` times, by a call of that name."""
        quiet = 0
        while quiet < turns and is_open():
            try:
                data = read()
            except BlockingIOError:
                quiet += 1
                await settle(self.trace, self.patience)
            except OSError as exc:
                self.trace.note("peer", name, exc)
                return
            else:
                quiet = 0
                if not data:
                    self.trace.note("peer", "eof")
                    return
                take(data)


class StageWithPeer(ProgramStage):
    """A stage whose other side is a plain socket."""

    peer: socket.socket

    def do_peer_half_close(self) -> None:
        attempt(self.trace, "peer", "shutdown", lambda: self.peer.shutdown(socket.SHUT_WR))

    def do_peer_close(self) -> None:
        self.peer.close()

    def do_peer_reset(self) -> None:
        if self.peer.fileno() >= 0:
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.peer.close()

    async def read_peer(self, turns: int, take: Callable[[bytes], object]) -> None:
        """All that comes until nothing comes any more."""
        await self.read_all("recv", lambda: self.peer.recv(1 << 20), lambda: self.peer.fileno() >= 0, take, turns)


def play_on(
    stage: Callable[[dict[str, Any], Trace, Any, contextlib.ExitStack], ProgramStage],
    program: dict[str, Any],
    factory: Callable[[], asyncio.AbstractEventLoop],
    trace: Trace,
) -> None:
    """Play a program on a stage of this class and a loop of its own."""
    loop = factory()
    loop.set_debug(program["debug"])
    loop.slow_callback_duration = 1e9
    loop.set_exception_handler(handler_of(trace, program.get("handler_raises", False)))
    try:
        with contextlib.ExitStack() as ending:
            loop.run_until_complete(stage(program, trace, loop, ending).play())
    finally:
        loop.close()
