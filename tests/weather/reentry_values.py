"""Mischief by what arguments are asked for: descriptors, delays, sizes, separators. And on streams and pipes."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from mischief import Mischief, Trap, TrapError, buffer, take_one
from reentry_connections import text
from reentry_scenarios import play

import edgeloop
import edgeloop.streams


class Delay(float):
    """A time that does mischief when it is added, compared and converted."""

    mischief: Mischief

    def __add__(self, other: float) -> Delay:
        self.mischief.act()
        return delay(self.mischief, float.__add__(self, other))

    __radd__ = __add__

    def __lt__(self, other: float) -> bool:
        self.mischief.act()
        return float.__lt__(self, other)

    def __eq__(self, other: object) -> bool:
        self.mischief.act()
        return float.__eq__(self, other)

    def __hash__(self) -> int:
        return float.__hash__(self)

    def __float__(self) -> float:
        self.mischief.act()
        return float.__float__(self)

    def __del__(self) -> None:
        self.mischief.act()


def delay(mischief: Mischief, seconds: float) -> Delay:
    """A Delay."""
    made = Delay(seconds)
    made.mischief = mischief
    return made


class File(Trap):
    """What is asked for its descriptor, and closed."""

    def __init__(self, mischief: Mischief, fd: int) -> None:
        super().__init__(mischief)
        self.fd = fd
        self.mode = "r+b"

    def fileno(self) -> int:
        self.mischief.act()
        return self.fd

    def close(self) -> None:
        self.mischief.act()
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class Callback(Trap):
    """A callback that does mischief as its attributes are asked for: a report and debug mode do that."""

    def __init__(self, mischief: Mischief) -> None:
        super().__init__(mischief)
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("mischief", "calls"):
            raise AttributeError(name)
        self.mischief.act()
        raise AttributeError(name)

    def __call__(self, *arguments: object) -> None:
        self.calls += 1
        if self.mischief.chance(0.2):
            raise TrapError(self.mischief)


async def values(mischief: Mischief) -> None:
    """Delays, descriptors and callbacks that act as they are looked at, in debug mode too."""
    loop = asyncio.get_running_loop()
    handles: list[asyncio.TimerHandle] = []
    one, other = socket.socketpair()
    one.setblocking(False)
    file = File(mischief, other.detach())

    def later() -> None:
        soon = delay(mischief, mischief.random.random() * 0.002)
        handles.append(loop.call_later(soon, Callback(mischief), Trap(mischief)))

    def at() -> None:
        handles.append(loop.call_at(delay(mischief, loop.time()), Callback(mischief), Trap(mischief)))

    def cancel() -> None:
        handle = take_one(handles, mischief.random)
        if handle is not None:
            handle.cancel()
            repr(handle)

    def watch() -> None:
        loop.add_reader(file, Callback(mischief), Trap(mischief))

    def unwatch() -> None:
        loop.remove_reader(file)

    mischief.more = [later, at, cancel, watch, unwatch]

    async def step(number: int) -> None:
        loop.set_debug(number % 4 == 3)
        later()
        at()
        watch()
        one.send(b"x")
        await asyncio.sleep(delay(mischief, 0.0005))
        cancel()

    try:
        await play(mischief, step, 40)
    finally:
        mischief.over = True
        loop.set_debug(False)
        loop.remove_reader(file)
        one.close()
        file.close()


async def stream_calls(mischief: Mischief) -> None:
    """edgeloop's streams, or asyncio's on asyncio's loop: what is read is what was written, whoever gives up meanwhile."""
    streams: Any = edgeloop.streams if isinstance(asyncio.get_running_loop(), edgeloop.EventLoop) else asyncio.streams
    wanted = 300

    async def serve(reader: Any, writer: Any) -> None:
        got = 0
        try:
            while got < wanted * 10:
                reading = asyncio.ensure_future(reader.read(mischief.random.choice((1, 7, 100000))))
                await asyncio.sleep(0)
                if mischief.chance(0.3):
                    reading.cancel()
                try:
                    data = await reading
                except asyncio.CancelledError:
                    continue
                if data != text(got, len(data)):
                    mischief.say("the bytes that were read are not those that were written")
                got += len(data)
                if not data:
                    break
            if got != wanted * 10:
                mischief.say(f"{got} bytes were read of {wanted * 10}")
            writer.write(buffer(mischief, b"end\r\n"))
        finally:
            writer.close()

    server = await streams.start_server(serve, "127.0.0.1", 0)
    reader, writer = await streams.open_connection(*server.sockets[0].getsockname()[:2])
    mischief.more = [lambda: repr(reader), lambda: repr(writer), writer.is_closing]
    sent = 0

    async def step(number: int) -> None:
        nonlocal sent
        for _ in range(10):
            data = buffer(mischief, text(sent, 10))
            sent += 10
            writer.writelines([data]) if mischief.chance(0.5) else writer.write(data)
        await writer.drain()

    try:
        await play(mischief, step, wanted // 10)
        if await asyncio.wait_for(reader.readuntil(buffer(mischief, b"\r\n")), 10) != b"end\r\n":
            mischief.say("another end was read than was written")
    finally:
        mischief.over = True
        writer.close()
        server.close()
        await asyncio.wait_for(server.wait_closed(), 10)


class Reading(Trap, asyncio.Protocol):
    """The reading end of a pipe."""

    def __init__(self, mischief: Mischief) -> None:
        super().__init__(mischief)
        self.got = self.lost = 0

    def data_received(self, data: bytes) -> None:
        if data != text(self.got, len(data)):
            self.mischief.say("the bytes of the pipe are not those that were written")
        self.got += len(data)
        self.mischief.act()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1


async def pipes(mischief: Mischief) -> None:
    """Both ends of a pipe are transports, whose files act as they are asked for their descriptors."""
    loop = asyncio.get_running_loop()
    ends = [File(mischief, fd) for fd in os.pipe()]
    receiving, protocol = await loop.connect_read_pipe(lambda: Reading(mischief), ends[0])
    sending, _ = await loop.connect_write_pipe(lambda: Reading(mischief), ends[1])
    writer: Any = sending
    sent = 0
    busy = False

    def send() -> None:
        nonlocal sent, busy
        if busy:  # a write within this one would be before it
            return
        busy = True
        try:
            data = text(sent, mischief.random.choice((1, 100, 70000)))
            writer.write(buffer(mischief, data) if mischief.chance(0.5) else data)
            sent += len(data)
        finally:
            busy = False

    def pause() -> None:
        reader: Any = receiving
        reader.pause_reading()
        loop.call_soon(reader.resume_reading)

    mischief.more = [send, send, pause, lambda: repr(receiving), lambda: repr(sending)]

    async def step(number: int) -> None:
        send()
        await asyncio.sleep(0)

    try:
        await play(mischief, step)
    finally:
        mischief.over = True
        sending.close()
        for _ in range(400):
            if protocol.lost:
                break
            await asyncio.sleep(0.01)
        if (protocol.lost, protocol.got) != (1, sent):
            mischief.say(f"connection_lost {protocol.lost} times, {protocol.got} of {sent} bytes came")


SCENARIOS = (values, stream_calls, pipes)
