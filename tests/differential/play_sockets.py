"""Programs of the loop's socket calls and watchers: each call is a task, which may be cancelled while it waits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from play_transports import content
from worker_stage import StageWithPeer, play_on
from worker_traces import Trace, attempt, settle


class Waiting:
    """Which calls wait on a descriptor.

    On asyncio a sendfile waits for room even if all has left already, and only who waited last for it is ever called. How a
    connect came out is told once, to whoever asks the socket first: for asyncio's ``sock_connect`` it is a success then.
    """

    def __init__(self) -> None:
        self.tasks: dict[int, list[tuple[str, Any]]] = {}
        self.watched: set[int] = set()

    def may_start(self, call: str, fd: int) -> bool:
        """Return whether asyncio has room for one more call."""
        waiting = [name for name, task in self.tasks.get(fd, ()) if not task.done()]
        if "connect" in waiting or (call == "connect" and waiting):
            return False
        if call == "sendfile":
            return not {"sendall", "sendfile"} & {*waiting} and fd not in self.watched
        return call not in ("sendall", "watch") or "sendfile" not in waiting

    def start(self, call: str, fd: int, task: Any) -> None:
        """Remember the task of a call."""
        self.tasks.setdefault(fd, []).append((call, task))


def descriptor(sock: Any) -> int:
    """A socket's descriptor, or the number itself; -1 for what is neither."""
    return sock if isinstance(sock, int) else sock.fileno() if hasattr(sock, "fileno") else -1


class Stage(StageWithPeer):
    """A connected pair of sockets, a listener, two datagram sockets, and the tasks that wait for them."""

    def __init__(self, program: dict[str, Any], trace: Trace, loop: Any, ending: contextlib.ExitStack) -> None:
        super().__init__(program, trace, loop, ending)
        self.tasks: list[Any] = []
        self.sent = 0
        self.counts: dict[str, int] = {}
        self.waiting = Waiting()
        if program["family"] == "unix":
            self.ours, self.peer = socket.socketpair()
            self.listening = socket.socket(socket.AF_UNIX)
            self.listening.bind("")
        else:
            self.listening = socket.create_server(("127.0.0.1", 0))
            self.peer = socket.create_connection(self.listening.getsockname())
            self.ours, _ = self.listening.accept()
        self.listening.listen()
        self.unconnected = socket.socket(self.listening.family)
        self.datagrams, self.other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.datagrams, self.other):
            sock.bind(("127.0.0.1", 0))
        self.closed = socket.socket()
        self.closed.close()
        for sock in (self.ours, self.peer, self.listening, self.unconnected, self.datagrams, self.other):
            ending.enter_context(sock)
            sock.setblocking(False)
        if program["blocking"] and program["debug"]:  # without debug mode nobody checks, and all would block
            self.ours.setblocking(True)

    def sock(self, name: str) -> Any:
        return (
            {"number": self.ours.fileno(), "text": "text", "none": None}.get(name)
            if name in ("number", "text", "none")
            else getattr(self, name)
        )

    # Each call is a task

    def do_sock(self, call: str, sock: str, *arguments: Any) -> None:
        given = self.sock(sock)
        if not self.waiting.may_start(call, descriptor(given)):
            return
        task = self.loop.create_task(self.call(f"call {len(self.tasks)}", call, given, arguments))
        self.tasks.append(task)
        self.waiting.start(call, descriptor(given), task)

    async def call(self, who: str, name: str, sock: Any, arguments: tuple[Any, ...]) -> None:
        try:
            result = await getattr(self, "call_" + name)(sock, *arguments)
        except (Exception, asyncio.CancelledError) as exc:
            self.trace.note(who, name, "raised", exc)
        else:
            self.trace.note(who, name, result)

    async def call_recv(self, sock: Any, count: Any) -> Any:
        return await self.loop.sock_recv(sock, count)

    async def call_recv_into(self, sock: Any, count: Any) -> Any:
        buffer = bytearray(count) if isinstance(count, int) and count >= 0 else count
        received = await self.loop.sock_recv_into(sock, buffer)
        return [received, bytes(buffer[:received])]

    async def call_sendall(self, sock: Any, count: Any) -> Any:
        return await self.loop.sock_sendall(sock, content(count) if isinstance(count, int) else count)

    async def call_accept(self, sock: Any) -> Any:
        accepted, address = await self.loop.sock_accept(sock)
        with accepted:
            return ["accepted", accepted.getblocking(), type(address).__name__]

    async def call_connect(self, sock: Any, where: Any) -> Any:
        names = {"listening": self.listening.getsockname, "nobody": self.nobody, "itself": sock.getsockname}
        address = names[where]() if where in names else where
        return await self.loop.sock_connect(sock, tuple(address) if isinstance(address, list) else address)

    def nobody(self) -> Any:
        """An address that nobody listens at."""
        if self.program["family"] == "unix":
            return "/nonexistent/socket"
        with socket.create_server(("127.0.0.1", 0)) as free:
            return free.getsockname()

    async def call_recvfrom(self, sock: Any, count: Any) -> Any:
        data, address = await self.loop.sock_recvfrom(sock, count)
        return [data, type(address).__name__]

    async def call_recvfrom_into(self, sock: Any, size: Any, count: Any) -> Any:
        buffer = bytearray(size)
        received, address = await self.loop.sock_recvfrom_into(sock, buffer, count)
        return [received, bytes(buffer[:received]), type(address).__name__]

    async def call_sendto(self, sock: Any, count: Any, where: Any) -> Any:
        address = {"other": self.other.getsockname()}.get(where, where)
        return await self.loop.sock_sendto(
            sock, content(count), tuple(address) if isinstance(address, list) else address
        )

    async def call_sendfile(self, sock: Any, size: Any, offset: Any, count: Any, fallback: Any) -> Any:
        with tempfile.TemporaryFile() as file:
            file.write(content(size))
            file.seek(0)
            try:
                sent = await self.loop.sock_sendfile(sock, file, offset, count, fallback=fallback)
            except (OSError, asyncio.SendfileNotAvailableError) as exc:
                gone = isinstance(exc, ConnectionError) or sock.fileno() < 0
                if gone and size <= offset:
                    return [
                        0,
                        "anywhere",
                    ]  # whether a socket is asked at all, if there is nothing to send, is nobody's promise
                if gone and fallback and isinstance(exc, ConnectionError):
                    raise ConnectionError from None  # which one, asyncio asks the socket a second time: docs/differences.md
                if not gone or fallback:
                    raise
                raise asyncio.SendfileNotAvailableError("os.sendfile call failed") from None  # docs/differences.md
            return [sent, file.tell() if sent else "anywhere"]

    def do_cancel(self, which: int) -> None:
        if self.tasks:
            self.tasks[which % len(self.tasks)].cancel()

    # Watchers

    def do_watch(self, kind: str, sock: str, reads: int) -> None:
        """A callback that reads so many bytes each time; one that reads nothing takes itself away."""
        name = f"{kind} {sock}"
        self.counts[name] = self.counts.get(name, 0) + 1
        given = self.sock(sock)
        if kind == "writer":
            if not self.waiting.may_start("watch", descriptor(given)):
                return
            self.waiting.watched.add(descriptor(given))
        method = getattr(self.loop, "add_" + kind)
        attempt(
            self.trace,
            name,
            "add_" + kind,
            lambda: method(given, self.ready, name, self.counts[name], kind, given, reads),
        )

    def ready(self, name: str, number: int, kind: str, sock: Any, reads: int) -> None:
        if kind == "reader" and reads and hasattr(sock, "recv"):
            try:
                data = sock.recv(reads)
            except OSError as exc:
                self.trace.note(name, number, "recv", exc)
            else:
                if data:
                    self.trace.data(name, f"read {number}", data)
                    return
                self.trace.note(name, number, "eof")
        else:
            self.trace.note(name, number, "called")
        getattr(self.loop, "remove_" + kind)(sock)
        if kind == "writer":
            self.waiting.watched.discard(descriptor(sock))
        if reads == 3:
            raise ValueError("from a watcher")

    def do_unwatch(self, kind: str, sock: str) -> None:
        if kind == "writer":
            self.waiting.watched.discard(descriptor(self.sock(sock)))
        attempt(
            self.trace,
            f"{kind} {sock}",
            "remove_" + kind,
            lambda: getattr(self.loop, "remove_" + kind)(self.sock(sock)),
        )

    # What the other sides do

    def do_peer_write(self, count: int) -> None:
        with contextlib.suppress(BlockingIOError):
            attempt(self.trace, "peer", "send", lambda: self.peer.send(content(count, self.sent)))
        self.sent += count

    def do_knock(self) -> None:
        """Somebody connects and goes away again."""
        with socket.socket(self.listening.family) as knocking:
            knocking.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                knocking.connect(self.listening.getsockname())

    def do_datagram(self, count: int) -> None:
        self.other.sendto(content(count), self.datagrams.getsockname())

    async def peer_read(self) -> None:
        await self.read_peer(2, lambda data: self.trace.data("peer", "read", data))

    async def play(self) -> None:
        for step in self.program["steps"]:
            self.trace.next_step(*step)
            for name, *arguments in step[1] if step[0] == "together" else [step]:
                if name == "peer_read":
                    await self.peer_read()
                else:
                    getattr(self, "do_" + name)(*arguments)
            await settle(self.trace, self.patience)
        self.trace.next_step("end")
        for task in self.tasks:
            task.cancel()
        await settle(self.trace, self.patience)
        for kind in ("reader", "writer"):
            for name in ("ours", "peer", "listening", "datagrams"):
                with contextlib.suppress(ValueError):
                    getattr(self.loop, "remove_" + kind)(self.sock(name))


def play(program: dict[str, Any], factory: Callable[[], asyncio.AbstractEventLoop], trace: Trace) -> None:
    play_on(Stage, program, factory, trace)
