"""Mischief on connections: streams in the clear and under TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from mischief import Mischief, Trap, TrapError, buffer, take_one
from reentry_scenarios import play
from scenarios_of_streams import contexts

PATTERN = bytes(range(251)) * 1200


def text(start: int, size: int) -> bytes:
    """A piece of what is sent on each stream: its place says what each byte must be."""
    begin = start % 251
    return PATTERN[begin : begin + size]


class Side(Trap, asyncio.Protocol):
    """One end of a connection: sends the pattern, and checks what comes."""

    def __init__(self, mischief: Mischief) -> None:
        super().__init__(mischief)
        self.transport: Any = None
        self.peer: Side | None = None
        self.sent = self.got = self.made = self.lost = 0
        self.busy = self.closed = self.broken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.made += 1
        self.mischief.act()

    def data_received(self, data: bytes) -> None:
        if self.lost:
            self.mischief.say("data_received after connection_lost")
        if data != text(self.got, len(data)):
            self.mischief.say("the bytes that came are not those that were sent")
        self.got += len(data)
        if self.mischief.chance(0.3):
            self.mischief.act()
        if self.mischief.chance(0.002):
            self.broken = True
            raise TrapError(self.mischief)

    def eof_received(self) -> bool:
        self.mischief.act()
        return False

    def pause_writing(self) -> None:
        self.mischief.act()

    def resume_writing(self) -> None:
        self.mischief.act()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1
        if self.lost > 1 or not self.made:
            self.mischief.say(f"connection_made {self.made} times, connection_lost {self.lost} times")
        peer = self.peer
        fair = exc is None and not (self.closed or self.broken)  # a peer that closes without having read all resets
        if fair and peer is not None and peer.closed and not peer.broken and self.got != peer.sent:
            self.mischief.say(f"{self.got} of {peer.sent} bytes came before the end")
        self.mischief.act()

    def send(self) -> None:
        """The next piece, in one of the forms that data can have."""
        if self.transport is None or self.busy or self.closed or self.transport.is_closing():
            return
        self.busy = True  # a write within this one would be before it
        try:
            chance = self.mischief.random
            data = text(self.sent, chance.choice((1, 10, 5000, 70000)))
            way = chance.randrange(5)
            if way == 0:
                self.transport.write(data)
            elif way == 1:
                self.transport.write(buffer(self.mischief, data))
            elif way == 2:
                self.transport.write(memoryview(buffer(self.mischief, data)))
            else:
                pieces = (piece for piece in (data[:3], buffer(self.mischief, data[3:7]), data[7:]))
                self.transport.writelines(pieces)
            # Counted when it was taken: mischief in between may have ended the connection.
            if self.closed or self.lost or self.transport.is_closing():
                self.broken = True
            self.sent += len(data)
        finally:
            self.busy = False

    def close(self) -> None:
        """In the way that loses nothing."""
        if self.transport is not None and not self.busy and not self.transport.is_closing():
            self.closed = True
            self.transport.close()

    def abort(self) -> None:
        """In the way that may lose something."""
        self.broken = True
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        """Reading, for a while."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
            self.mischief.loop.call_soon(self.transport.resume_reading)


class BufferedSide(Side, asyncio.BufferedProtocol):
    """The same, with memory of its own, each time another."""

    memory: Any = None

    def get_buffer(self, sizehint: int) -> Any:
        size = self.mischief.random.choice((1, 100, 100000))
        self.memory = buffer(self.mischief, bytes(size))
        return self.memory

    def buffer_updated(self, nbytes: int) -> None:
        memory, self.memory = self.memory, None
        self.data_received(bytes(memory[:nbytes]))


async def _connections(mischief: Mischief, tls: bool) -> None:
    loop = asyncio.get_running_loop()
    sides: list[Side] = []
    server_tls, client_tls = contexts() if tls else (None, None)

    def factory() -> Side:
        kind = Side if mischief.chance(0.5) else BufferedSide
        sides.append(kind(mischief))
        return sides[-1]

    async def pair() -> None:
        one, other = socket.socketpair()
        first = loop.create_connection(factory, sock=one, ssl=client_tls, server_hostname="localhost" if tls else None)
        second = loop.connect_accepted_socket(factory, sock=other, ssl=server_tls)
        made = await asyncio.gather(first, second, return_exceptions=True)
        ends = [result[1] for result in made if not isinstance(result, BaseException)]
        if len(ends) == 2:
            ends[0].peer, ends[1].peer = ends[1], ends[0]
        else:
            for result in made:
                if isinstance(result, BaseException) and not isinstance(result, OSError):
                    mischief.say(f"connecting raised {result!r}")

    def some(act: Callable[[Side], None]) -> Callable[[], None]:
        def meddle() -> None:
            if sides:
                act(mischief.random.choice(sides))

        return meddle

    mischief.more = [*[some(Side.send)] * 4, some(Side.pause), some(Side.close), some(Side.abort)]

    async def step(number: int) -> None:
        if number % (8 if tls else 3) == 0:
            await pair()
        for side in list(sides):
            side.send()
        await asyncio.sleep(0)
        side_to_close = take_one(sides, mischief.random) if len(sides) > 12 else None
        if side_to_close is not None:
            side_to_close.close()

    try:
        await play(mischief, step)
    finally:
        mischief.over = True
        for side in sides:
            side.close()
        for _ in range(400):
            if all(side.lost for side in sides if side.made):
                break
            await asyncio.sleep(0.01)
        else:
            mischief.say("connection_lost does not come after close()")


async def connections(mischief: Mischief) -> None:
    await _connections(mischief, False)


async def tls_connections(mischief: Mischief) -> None:
    await _connections(mischief, True)


SCENARIOS = (connections, tls_connections)
