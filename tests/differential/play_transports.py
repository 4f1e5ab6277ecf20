"""Programs of one stream transport: calls of its methods, what its peer does, and what the protocol does in its callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import tempfile
from collections.abc import Callable
from typing import Any

from worker_stage import ProgramStage, play_on
from worker_traces import Trace, attempt, settle

#: So little that 300,000 bytes keep a protocol paused, whether the peer's kernel has taken its part or not yet.
KERNEL_BUFFER = 32768
#: Up to here the kernel takes all at once, on every wire.
SMALL = 20000


PERIOD = b"".join(b"%08d" % number for number in range(1 << 16))


def content(count: int, start: int = 0) -> bytes:
    """Bytes that tell where in a stream they belong."""
    start %= len(PERIOD)
    return b"".join([PERIOD[start : start + count], PERIOD * (count // len(PERIOD) + 1)])[:count]


class Acting:
    """A protocol's callbacks: each is noted, and does what the program wants it to do the first time."""

    def __init__(self, stage: Stage, name: str, reactions: dict[str, list[Any]]) -> None:
        self.stage = stage
        self.name = name
        self.reactions = dict(reactions)

    def react(self, callback: str) -> Any:
        action = self.reactions.pop(callback, None)
        return None if action is None else self.stage.act(self.name, action)

    def connection_made(self, transport: Any) -> None:
        self.stage.transport = transport
        self.stage.trace.note(self.name, "connection_made")
        self.react("connection_made")

    def connection_lost(self, exc: Exception | None) -> None:
        self.stage.trace.note(self.name, "connection_lost", exc)
        self.react("connection_lost")

    def pause_writing(self) -> None:
        self.stage.trace.note(self.name, "pause_writing")
        self.react("pause_writing")

    def resume_writing(self) -> None:
        self.stage.trace.note(self.name, "resume_writing")
        self.react("resume_writing")

    def eof_received(self) -> Any:
        if self.stage.closed_tls():
            return None
        self.stage.trace.note(self.name, "eof_received")
        return self.react("eof_received")


class Plain(Acting, asyncio.Protocol):
    """Gets its data by data_received."""

    def data_received(self, data: bytes) -> None:
        self.stage.received += len(data)
        self.stage.trace.data(self.name, type(data).__name__, data)
        self.react("data_received")


class Buffered(Acting, asyncio.BufferedProtocol):
    """Gets its data in a buffer of its own; ``size`` may be what get_buffer must not return."""

    def __init__(self, stage: Stage, name: str, reactions: dict[str, list[Any]], size: int) -> None:
        super().__init__(stage, name, reactions)
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint: int) -> Any:
        wrong = self.react("get_buffer")
        return self.buffer if wrong is None else wrong

    def buffer_updated(self, nbytes: int) -> None:
        self.stage.received += nbytes
        self.stage.trace.data(self.name, "buffer", self.buffer[:nbytes])
        self.react("data_received")


class Stage(ProgramStage):
    """A transport, its protocols, and the socket at the other end."""

    def __init__(self, program: dict[str, Any], trace: Trace, loop: Any, ending: contextlib.ExitStack) -> None:
        super().__init__(program, trace, loop, ending)
        self.transport: Any = None
        self.peer: Any
        self.protocols = 0
        self.written = 0
        self.sent = 0
        self.received = 0
        self.lossy = False

    def protocol(self) -> Any:
        """The next protocol that the program describes; the last one again when they are used up."""
        described = self.program["protocols"]
        chosen = described[min(self.protocols, len(described) - 1)]
        name = f"protocol {self.protocols}"
        self.protocols += 1
        reactions = dict(chosen["reactions"])
        if chosen["buffer"]:
            return Buffered(self, name, reactions, chosen["buffer"])
        return Plain(self, name, reactions)

    # The wire

    async def connect(self) -> None:
        """Make the transport in the way that the program names, and the socket that is its peer."""
        await getattr(self, "connect_" + self.program["wire"])()
        self.ending.callback(self.peer.close)
        self.peer.setblocking(False)
        await settle(self.trace, self.patience)

    async def connect_pair(self) -> None:
        ours, self.peer = socket.socketpair()
        await self.loop.create_connection(self.protocol, sock=ours)

    async def connect_accepted(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.peer = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
        await self.loop.connect_accepted_socket(self.protocol, sock=ours)
        self.bound()

    async def connect_tcp(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            await self.loop.create_connection(self.protocol, *listening.getsockname())
            self.peer, _ = listening.accept()
        self.bound()

    async def connect_tls(self) -> None:
        """TLS over a pair: its peer is played by hand."""
        import worker_tls  # makes certificates, which the other programs need not

        ours, theirs = socket.socketpair()
        peer = self.peer = worker_tls.TLSPeer(theirs)
        options: Any = {"ssl": worker_tls.contexts()[0], "server_hostname": "localhost"}
        connecting = self.loop.create_task(self.loop.create_connection(self.protocol, sock=ours, **options))
        while not connecting.done():
            peer.shake_hands()
            await asyncio.sleep(0)
        await connecting
        peer.shake_hands()  # with what ours has sent last

    async def connect_unix(self) -> None:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
            path = os.path.join(folder, "socket")
            listening.bind(path)
            listening.listen()
            await self.loop.create_unix_connection(self.protocol, path)
            self.peer, _ = listening.accept()

    async def connect_served(self) -> None:
        server = await self.loop.create_server(self.protocol, "127.0.0.1", 0)
        self.peer = socket.create_connection(server.sockets[0].getsockname())
        await settle(self.trace, self.patience + 1)
        server.close()
        self.bound()

    def bound(self) -> None:
        """A bound on what the kernel holds of TCP."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError, AttributeError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)

    # What a program does

    def act(self, who: str, action: list[Any]) -> Any:
        """One action, at once; ``who`` is the step or the protocol whose callback does it."""
        name, *arguments = action
        return getattr(self, "do_" + name)(who, *arguments)

    def call(self, who: str, name: str, *arguments: Any) -> Any:
        """A method of the transport."""
        return attempt(self.trace, who, name, lambda: getattr(self.transport, name)(*arguments))

    def do_write(self, who: str, count: int, kind: str = "bytes") -> None:
        data = content(count, self.written)
        if not self.transport.is_closing():
            self.written += count
        if count > SMALL:
            self.lossy = True
        kinds: dict[str, Any] = {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview, "words": words_of}
        self.call(who, "write", kinds[kind](data))

    def do_writelines(self, who: str, counts: list[int]) -> None:
        parts = []
        for count in counts:
            parts.append(content(count, self.written))
            if not self.transport.is_closing():
                self.written += count
        if sum(counts) > SMALL:
            self.lossy = True
        self.call(who, "writelines", parts)

    def do_write_wrong(self, who: str, which: str) -> None:
        self.call(who, "write", {"text": "text", "none": None, "number": 3, "list": [b"a"]}[which])

    def do_call(self, who: str, name: str, *arguments: Any) -> None:
        if name == "close" and self.program["wire"] == "tls" and self.received < self.sent:
            return  # to asyncio, what a paused transport has not read comes after its close_notify: docs/differences.md
        if name == "abort":
            self.lossy = self.lossy or self.written > SMALL
        self.call(who, name, *arguments)

    def do_set_protocol(self, who: str) -> None:
        self.call(who, "set_protocol", self.protocol())

    def do_get_protocol(self, who: str) -> None:
        self.trace.note(who, "get_protocol", getattr(self.transport.get_protocol(), "name", None))

    def do_buffered(self, who: str) -> None:
        """Whether anything waits: how much of it the kernel took is its own business."""
        attempt(self.trace, who, "buffered", lambda: self.transport.get_write_buffer_size() > 0)

    def do_extra(self, who: str, name: str) -> None:
        value = self.transport.get_extra_info(name, "default")
        self.trace.note(who, "extra", name, type(value).__name__)

    def do_shutdown_socket(self, who: str) -> None:
        sock = self.transport.get_extra_info("socket")
        attempt(self.trace, who, "shutdown", lambda: sock.shutdown(socket.SHUT_WR))

    def do_return(self, who: str, value: Any) -> Any:
        return {"bytes": b"", "empty": bytearray(), "text": "text"}.get(value, value)

    def do_raise(self, who: str, name: str) -> None:
        raise {"ValueError": ValueError, "OSError": OSError, "ConnectionResetError": ConnectionResetError}[name](
            "wanted"
        )

    def do_nothing(self, who: str) -> None:
        pass

    def do_soon(self, who: str, action: list[Any]) -> None:
        self.loop.call_soon(self.act, who + " soon", action)

    # What its peer does

    def do_peer_write(self, who: str, count: int) -> None:
        if self.program["wire"] == "tls" and self.transport.is_closing():
            return  # asyncio fails when something comes after its close_notify: docs/differences.md
        data = content(count, self.sent)
        try:
            sent = self.peer.send(data)
        except OSError as exc:
            self.trace.note("peer", "send", exc)
        else:
            self.sent += sent
            self.trace.note("peer", "sent", sent if count <= SMALL else "some")

    def closed_tls(self) -> bool:
        """A TLS transport of asyncio's tells its protocol of the peer's end even after close: docs/differences.md."""
        return bool(self.program["wire"] == "tls" and self.transport.is_closing())

    def ends_unseen(self) -> bool:
        """A paused TLS transport of asyncio's reads on, and sees its peer end: docs/differences.md."""
        encrypted = self.program["wire"] == "tls"
        return encrypted and not self.transport.is_closing() and not self.transport.is_reading()

    def answers_the_end(self) -> bool:
        """What eof_received writes to a TLS peer that is gone is lost, of which asyncio says nothing: docs/differences.md."""
        protocol = self.transport.get_protocol()
        return self.program["wire"] == "tls" and "eof_received" in getattr(protocol, "reactions", ())

    def do_peer_half_close(self, who: str) -> None:
        if self.ends_unseen():
            return
        attempt(self.trace, "peer", "shutdown", lambda: self.peer.shutdown(socket.SHUT_WR))

    def do_peer_close(self, who: str) -> None:
        if self.ends_unseen() or self.answers_the_end():
            return
        self.peer.close()

    def do_peer_reset(self, who: str) -> None:
        if self.ends_unseen() or self.answers_the_end():
            return
        self.lossy = self.lossy or self.written > SMALL
        if self.peer.fileno() >= 0:
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.peer.close()

    async def peer_read(self) -> None:
        """All that comes until nothing comes any more."""
        received = bytearray()
        end: Any = "open"
        quiet = 0
        while quiet < 3 + self.patience:
            try:
                data = self.peer.recv(1 << 20)
            except BlockingIOError:
                quiet += 1
                await settle(self.trace, self.patience)
                continue
            except OSError as exc:
                # Reset, if a paused TLS transport has left something in the kernel: docs/differences.md.
                end = "cut off" if self.program["wire"] == "tls" else exc
                break
            quiet = 0
            if not data:
                end = "eof"
                break
            received += data
        self.read = getattr(self, "read", 0)
        right = bytes(received) == content(len(received), self.read)
        self.read += len(received)
        if self.lossy and self.transport.is_closing() and end != "open":
            self.trace.note("peer", "read", end, right)
        else:
            self.trace.note("peer", "read", end, right, len(received))

    async def play(self) -> None:
        await self.connect()
        for step in self.program["steps"]:
            self.trace.next_step(*step)
            if step[0] == "peer_read":
                await self.peer_read()
            elif step[0] == "together":
                for action in step[1]:
                    self.act_noted(action)
            else:
                self.act_noted(step)
            await settle(self.trace, self.patience)
        self.trace.next_step("end")
        if self.peer.fileno() >= 0:
            await self.peer_read()
        self.transport.abort()
        await settle(self.trace, self.patience)

    def act_noted(self, action: list[Any]) -> None:
        try:
            self.act("step", action)
        except Exception as exc:
            self.trace.note("step", action[0], "raised", exc)


def words_of(data: bytes) -> memoryview:
    """The same bytes in items of eight; what is over is left out."""
    return memoryview(data[: len(data) // 8 * 8]).cast("Q")


def play(program: dict[str, Any], factory: Callable[[], asyncio.AbstractEventLoop], trace: Trace) -> None:
    play_on(Stage, program, factory, trace)
