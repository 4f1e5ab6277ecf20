"""Programs of a datagram endpoint and a socket that exchange datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from play_transports import content
from worker_stage import ProgramStage, play_on
from worker_traces import Trace, attempt, settle


class Endpoint(asyncio.DatagramProtocol):
    """Notes each callback, and does what the program wants it to do the first time."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.reactions = dict(stage.program["reactions"])

    def react(self, callback: str) -> None:
        action = self.reactions.pop(callback, None)
        if action is not None:
            self.stage.act("errors" if callback == "error_received" else "protocol", action)

    def connection_made(self, transport: Any) -> None:
        self.stage.transport = transport
        self.stage.trace.note("protocol", "connection_made")
        self.react("connection_made")

    def connection_lost(self, exc: Exception | None) -> None:
        self.stage.trace.note("protocol", "connection_lost", exc)
        self.react("connection_lost")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.stage.trace.note("protocol", "datagram_received", data, self.stage.known(addr))
        self.react("datagram_received")

    def error_received(self, exc: Exception) -> None:
        self.stage.trace.note("errors", "error_received", exc)  # it comes later than on asyncio: docs/differences.md
        self.react("error_received")

    def pause_writing(self) -> None:
        self.stage.trace.note("protocol", "pause_writing")

    def resume_writing(self) -> None:
        self.stage.trace.note("protocol", "resume_writing")


class Stage(ProgramStage):
    """An endpoint, its peer and a stranger."""

    def __init__(self, program: dict[str, Any], trace: Trace, loop: Any, ending: contextlib.ExitStack) -> None:
        super().__init__(program, trace, loop, ending)
        self.transport: Any = None
        family = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6, "unix": socket.AF_UNIX}[program["family"]]
        self.folder = ending.enter_context(tempfile.TemporaryDirectory())
        self.sockets = {}
        for name in ("peer", "stranger"):
            sock = self.sockets[name] = ending.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            sock.setblocking(False)
            sock.bind(self.free(name))
        self.family = family

    def free(self, name: str) -> Any:
        """An address to bind."""
        return {"ipv4": ("127.0.0.1", 0), "ipv6": ("::1", 0)}.get(
            self.program["family"], os.path.join(self.folder, name)
        )

    def known(self, address: Any) -> str:
        """The name of an address's owner."""
        for name, sock in self.sockets.items():
            if sock.fileno() >= 0 and address == sock.getsockname():
                return name
        return type(address).__name__

    def address(self, name: str) -> Any:
        if name in self.sockets:
            sock = self.sockets[name]
            return sock.getsockname() if sock.fileno() >= 0 else self.nobody()
        return {
            "none": None,
            "text": "text",
            "nobody": self.nobody(),
            "short": ("127.0.0.1",),
            "port": ("127.0.0.1", 1 << 20),
        }[name]

    def nobody(self) -> Any:
        if self.family == socket.AF_UNIX:
            return os.path.join(self.folder, "nobody")
        with socket.socket(self.family, socket.SOCK_DGRAM) as free:
            free.bind(self.free(""))
            return free.getsockname()

    async def connect(self) -> None:
        made = self.program["made"]
        options: dict[str, Any] = {}
        if made == "sock":
            sock = socket.socket(self.family, socket.SOCK_DGRAM)
            sock.bind(self.free("ours"))
            options["sock"] = sock
        else:
            options["local_addr"] = self.free("ours")
            if self.family == socket.AF_UNIX:
                options["family"] = self.family
        if made == "connected":
            options["remote_addr"] = self.address("peer")[:2] if self.family != socket.AF_UNIX else self.address("peer")
        await self.loop.create_datagram_endpoint(lambda: Endpoint(self), **options)
        self.ours = self.transport.get_extra_info("sockname")

    def act(self, who: str, action: list[Any]) -> None:
        name, *arguments = action
        getattr(self, "do_" + name)(who, *arguments)

    def do_sendto(self, who: str, count: Any, where: str) -> None:
        data = (
            content(count)
            if isinstance(count, int)
            else {"text": "text", "none": None, "bytearray": bytearray(b"abc"), "view": memoryview(b"abc")}[count]
        )
        address = self.address(where)
        attempt(self.trace, who, "sendto", lambda: self.transport.sendto(data, address))

    def do_call(self, who: str, name: str, *arguments: Any) -> None:
        attempt(self.trace, who, name, lambda: getattr(self.transport, name)(*arguments))

    def do_raise(self, who: str) -> None:
        raise ValueError("wanted")

    def do_receive(self, who: str, name: str, count: int) -> None:
        """The endpoint receives something."""
        with contextlib.suppress(OSError):
            self.sockets[name].sendto(content(count), self.ours)

    def do_read(self, who: str, name: str) -> None:
        sock = self.sockets[name]
        while sock.fileno() >= 0:
            try:
                self.trace.note(name, "received", sock.recv(1 << 16))
            except OSError as exc:
                self.trace.note(name, "received", exc)
                break

    def do_close_socket(self, who: str, name: str) -> None:
        self.sockets[name].close()

    async def play(self) -> None:
        await self.connect()
        await settle(self.trace, self.patience)
        for step in self.program["steps"]:
            self.trace.next_step(*step)
            for action in step[1] if step[0] == "together" else [step]:
                try:
                    self.act("step", action)
                except Exception as exc:
                    self.trace.note("step", action[0], "raised", exc)
            await settle(self.trace, self.patience)
        self.trace.next_step("end")
        for name in self.sockets:
            self.do_read("end", name)
        self.transport.abort()
        await settle(self.trace, self.patience)


def play(program: dict[str, Any], factory: Callable[[], asyncio.AbstractEventLoop], trace: Trace) -> None:
    play_on(Stage, program, factory, trace)
