"""Programs of a server: starting, connections that come and go, closing, and who waits for that."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from worker_stage import ProgramStage, play_on
from worker_traces import Trace, attempt, settle


class Served(asyncio.Protocol):
    """One connection of the server."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name

    def connection_made(self, transport: Any) -> None:
        self.stage.transports.append(transport)
        self.stage.trace.note(self.name, "connection_made")

    def connection_lost(self, exc: Exception | None) -> None:
        self.stage.trace.note(self.name, "connection_lost", exc)

    def data_received(self, data: bytes) -> None:
        self.stage.trace.data(self.name, "data", data)

    def eof_received(self) -> bool:
        self.stage.trace.note(self.name, "eof_received")
        return self.stage.program["keeps_open"]  # type: ignore[no-any-return]


class Stage(ProgramStage):
    """A server, its clients, and the tasks that wait for it."""

    def __init__(self, program: dict[str, Any], trace: Trace, loop: Any, ending: contextlib.ExitStack) -> None:
        super().__init__(program, trace, loop, ending)
        self.server: Any = None
        self.address: Any = None
        self.transports: list[Any] = []
        self.clients: list[socket.socket] = []
        self.tasks: list[Any] = []
        self.served = 0
        self.folder = ending.enter_context(tempfile.TemporaryDirectory())

    def protocol(self) -> Any:
        self.served += 1
        return Served(self, f"connection {self.served}")

    async def start(self) -> None:
        start_serving = self.program["start_serving"]
        family = self.program["family"]
        if family == "unix":
            path = os.path.join(self.folder, "socket")
            self.server = await self.loop.create_unix_server(self.protocol, path, start_serving=start_serving)
        elif family == "sock":
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            self.server = await self.loop.create_server(self.protocol, sock=sock, start_serving=start_serving)
        else:
            hosts = ["127.0.0.1", "::1"] if family == "both" else "127.0.0.1"
            self.server = await self.loop.create_server(self.protocol, hosts, 0, start_serving=start_serving)
        first = min(self.server.sockets, key=lambda sock: sock.family)  # asyncio has them in any order
        self.address = first.getsockname()
        self.family = first.family

    async def wait(self, who: str, name: str) -> None:
        try:
            if name == "context":
                async with self.server as entered:
                    self.trace.note(who, "entered", entered is self.server)
                result: Any = "left"
            else:
                result = await getattr(self.server, name)()
        except (Exception, asyncio.CancelledError) as exc:
            self.trace.note(who, name, "raised", exc)
        else:
            self.trace.note(who, name, result)

    def do_wait(self, name: str) -> None:
        self.tasks.append(self.loop.create_task(self.wait(f"task {len(self.tasks)}", name)))

    def do_cancel(self, which: int) -> None:
        if self.tasks:
            self.tasks[which % len(self.tasks)].cancel()

    def do_call(self, name: str) -> None:
        attempt(self.trace, "server", name, lambda: getattr(self.server, name)())

    def do_state(self) -> None:
        server = self.server
        self.trace.note("server", "state", server.is_serving(), len(server.sockets), server.get_loop() is self.loop)

    def do_connect(self) -> None:
        client = self.ending.enter_context(socket.socket(self.family))
        client.setblocking(False)
        try:
            client.connect(self.address)
        except BlockingIOError:
            pass
        except OSError as exc:
            self.trace.note("client", "connect", exc)
            return
        self.clients.append(client)

    def do_send(self, which: int) -> None:
        if self.clients:
            client = self.clients[which % len(self.clients)]
            if client.fileno() >= 0:
                with contextlib.suppress(OSError):
                    client.send(b"data")

    def do_client_close(self, which: int) -> None:
        if self.clients:
            self.clients[which % len(self.clients)].close()

    def do_transport(self, which: int, name: str) -> None:
        if self.transports:
            attempt(
                self.trace, "transport", name, lambda: getattr(self.transports[which % len(self.transports)], name)()
            )

    def do_socket(self, name: str) -> None:
        """What a program must not do to a server's sockets, or may."""
        sockets = self.server.sockets
        if sockets:
            attempt(self.trace, "server", "socket " + name, lambda: type(getattr(sockets[0], name)()).__name__)

    def do_second(self, kind: str) -> None:
        """Another server, at the same address or with wrong arguments."""
        options: dict[str, dict[str, Any]] = {
            "same": {"host": "127.0.0.1", "port": self.address[1] if isinstance(self.address, tuple) else 1},
            "both": {"host": "127.0.0.1", "port": 0, "sock": self.clients[0] if self.clients else socket.socket()},
            "neither": {},
            "datagram": {"sock": socket.socket(socket.AF_INET, socket.SOCK_DGRAM)},
            "ssl": {"host": "127.0.0.1", "port": 0, "ssl": True},
            "timeout": {"host": "127.0.0.1", "port": 0, "ssl_handshake_timeout": 1},
            "port": {"host": "127.0.0.1", "port": 1 << 20},
        }
        self.tasks.append(self.loop.create_task(self.second(f"task {len(self.tasks)}", options[kind])))

    async def second(self, who: str, options: dict[str, Any]) -> None:
        try:
            server = await self.loop.create_server(self.protocol, **options)
        except (Exception, asyncio.CancelledError) as exc:
            self.trace.note(who, "second server", "raised", type(exc).__name__, getattr(exc, "errno", None))
        else:
            server.close()
            self.trace.note(who, "second server")
        finally:
            if isinstance(options.get("sock"), socket.socket) and options["sock"] not in self.clients:
                options["sock"].close()

    async def play(self) -> None:
        await self.start()
        await settle(self.trace, self.patience)
        for step in self.program["steps"]:
            self.trace.next_step(*step)
            for name, *arguments in step[1] if step[0] == "together" else [step]:
                getattr(self, "do_" + name)(*arguments)
            await settle(self.trace, self.patience)
        self.trace.next_step("end")
        for client in self.clients:
            if client.fileno() >= 0:
                with contextlib.suppress(OSError):
                    self.trace.note("client", "received", client.recv(100))
        for task in self.tasks:
            task.cancel()
        self.server.close()
        for transport in self.transports:
            transport.abort()
        await settle(self.trace, self.patience)


def play(program: dict[str, Any], factory: Callable[[], asyncio.AbstractEventLoop], trace: Trace) -> None:
    play_on(Stage, program, factory, trace)
