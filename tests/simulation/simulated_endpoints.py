"""The protocols of a run: each callback is checked, and then does something at random."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from simulated_peers import Flow, OracleError, read_number

if TYPE_CHECKING:
    from simulated_run import Run

WRITES = (1, 10, 100, 0, 4000, 5000, 66000, 70000, 300000)
BUFFERS = (1, 3, 100, 4096, 65536, 300000)


class CallbackError(Exception):
    """What a callback raises."""


class Endpoint:
    """One transport of the loop and all that its protocols were called with. Several protocols may take turns."""

    def __init__(self, run: Run, out: Flow | None, incoming: Flow | None) -> None:
        self.run = run
        self.out = out
        self.incoming = incoming
        self.transport: Any = None
        self.made = False
        self.lost = False
        self.ended = False  # eof_received was called
        self.paused = False  # pause_writing was called
        self.wrote_end = False
        self.sending = False  # a file
        self.may_lose = False  # it was aborted, or a callback raised: bytes may be lost
        self.is_ready = True  # its transport can be used: False during the handshake of start_tls
        self.is_encrypted = False  # a turn may bring more than one buffer, each from a record of its own
        self.read_in = -1  # the wait in which data came last
        self.socket: Any = None  # that was given: the program may close it
        self.duplicates: list[Any] = []
        run.endpoints.append(self)

    def check(self, what: str) -> None:
        """A callback comes."""
        self.run.kernel.moved += 1
        if self.lost:
            raise OracleError(f"{what} after connection_lost")
        if not self.made:
            raise OracleError(f"{what} before connection_made")

    def face(self) -> asyncio.BaseProtocol:
        """A protocol for this endpoint, of either kind."""
        return StreamFace(self) if self.run.tape.below(3) else BufferFace(self)

    def connection_made(self, transport: Any) -> None:
        self.run.kernel.moved += 1
        if self.made:
            raise OracleError("connection_made twice")
        self.made = True
        self.transport = transport
        self.run.act(self)

    def arrived(self, data: bytes) -> None:
        self.check("data")
        if self.ended:
            self.run.fail("data after eof_received")
        if self.read_in == self.run.kernel.waits and not self.is_encrypted:
            self.run.fail("two buffers in one turn (rule 3)")
        self.read_in = self.run.kernel.waits
        assert self.incoming is not None
        try:
            self.incoming.arrive(data)
        except OracleError as exc:
            self.run.fail(str(exc))
        self.run.act(self)

    def eof_received(self) -> bool:
        self.check("eof_received")
        if self.ended:
            self.run.fail("eof_received twice")
        self.ended = True
        keep = self.run.tape.below(2) == 1
        self.run.act(self)
        return keep

    def connection_lost(self, exc: BaseException | None) -> None:
        self.check("connection_lost")
        self.lost = True
        if exc is not None:
            self.may_lose = True
        self.run.act(None)

    def pause_writing(self) -> None:
        self.check("pause_writing")
        if self.paused:
            self.run.fail("pause_writing twice")
        self.paused = True
        self.run.act(self)

    def resume_writing(self) -> None:
        self.check("resume_writing")
        if not self.paused:
            self.run.fail("resume_writing without pause_writing")
        self.paused = False
        self.run.act(self)

    def server_draining(self) -> None:
        """Its server ends: Server.drain."""
        self.check("server_draining")
        self.run.act(self)

    # What a callback may do

    def write(self, size: int) -> None:
        """Write the next bytes."""
        if self.out is None or self.wrote_end or self.lost or self.sending:
            return
        closing = self.transport.is_closing()
        self.run.seen[f"write of {size}"] += 1
        size = self.run.bounded(size)
        data = self.out.next(size)
        if closing:
            self.may_lose = True  # as on asyncio, what is written then leaves only if something else waits
        self.out.wrote(len(data))  # before: the peer may read it during the call
        self.transport.write(data if size != 100 else bytearray(data))

    def writelines(self) -> None:
        """Write three pieces."""
        if self.out is None or self.wrote_end or self.lost or self.sending or self.transport.is_closing():
            return
        self.run.seen["writelines"] += 1
        parts = []
        for size in (10, 0, WRITES[self.run.tape.below(len(WRITES))]):
            parts.append(self.out.next(self.run.bounded(size)))
            self.out.wrote(len(parts[-1]))
        self.transport.writelines(parts)

    def write_eof(self) -> None:
        """Write the end."""
        if self.out is None or self.wrote_end or self.sending or not self.transport.can_write_eof():
            return
        if not self.transport.is_closing():
            self.run.seen["write_eof"] += 1
            self.wrote_end = True
            self.transport.write_eof()


class StreamFace(asyncio.Protocol):
    """A protocol that gets bytes."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.connection_made = endpoint.connection_made  # type: ignore[method-assign]
        self.data_received = endpoint.arrived  # type: ignore[method-assign]
        self.eof_received = endpoint.eof_received  # type: ignore[method-assign]
        self.connection_lost = endpoint.connection_lost  # type: ignore[method-assign]
        self.server_draining = endpoint.server_draining
        self.pause_writing = endpoint.pause_writing  # type: ignore[method-assign]
        self.resume_writing = endpoint.resume_writing  # type: ignore[method-assign]


class BufferFace(asyncio.BufferedProtocol):
    """A protocol that has odd buffers."""

    def __init__(self, endpoint: Endpoint) -> None:
        endpoint.run.seen["a BufferedProtocol"] += 1
        self.endpoint = endpoint
        self.size = BUFFERS[endpoint.run.tape.below(len(BUFFERS))]
        self.buffer = bytearray(self.size)
        self.connection_made = endpoint.connection_made  # type: ignore[method-assign]
        self.eof_received = endpoint.eof_received  # type: ignore[method-assign]
        self.connection_lost = endpoint.connection_lost  # type: ignore[method-assign]
        self.server_draining = endpoint.server_draining
        self.pause_writing = endpoint.pause_writing  # type: ignore[method-assign]
        self.resume_writing = endpoint.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> bytearray:
        self.buffer = bytearray(self.size)
        self.size = min(2 * self.size + 1, 300000)
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.endpoint.arrived(bytes(self.buffer[:count]))


class DatagramFace(asyncio.DatagramProtocol):
    """Numbers its messages, and checks the order of those that come."""

    def __init__(self, run: Run, target: Any) -> None:
        self.endpoint = endpoint = Endpoint(run, None, None)
        self.target = target
        self.sent = 0
        self.last = -1
        self.connection_made = endpoint.connection_made  # type: ignore[method-assign]
        self.connection_lost = endpoint.connection_lost  # type: ignore[method-assign]
        self.pause_writing = endpoint.pause_writing  # type: ignore[method-assign]
        self.resume_writing = endpoint.resume_writing  # type: ignore[method-assign]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.endpoint.check("a datagram")
        number = read_number(data)
        if number <= self.last:
            self.endpoint.run.fail(f"message {number} has come after {self.last}")
        self.last = number
        self.send()
        self.endpoint.run.act(self.endpoint)

    def error_received(self, exc: Exception) -> None:
        self.endpoint.check("error_received")
        self.endpoint.run.act(self.endpoint)

    def send(self) -> None:
        """Send a few messages."""
        run, transport = self.endpoint.run, self.endpoint.transport
        if run.budget <= 0 or self.endpoint.lost or transport.is_closing():
            return
        for _ in range((0, 1, 2, 5, 100)[run.tape.below(5)]):
            transport.sendto(b"%d" % self.sent, self.target)
            self.sent += 1
