"""What the mischief is done to: callbacks, datagrams, readers, functions in threads. Connections: reentry_connections.py."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from mischief import VARIABLE, Mischief, Trap, TrapError, address, buffer, take_one

ROUNDS = 25


async def play(mischief: Mischief, step: Callable[[int], Awaitable[object]], rounds: int = ROUNDS) -> None:
    """Rounds of mischief, and then quiet, in which all that waits comes to its end."""
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set() and not mischief.over:
            Trap(mischief)
            mischief.let_go()
            stop.wait(0.0005)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for number in range(rounds):
            for _ in range(4):
                mischief.schedule()
            mischief.act()
            await step(number)
    finally:
        stop.set()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        mischief.over = True
    mischief.held.clear()
    for _ in range(400):
        if not mischief.waiting():
            return
        await asyncio.sleep(0.01)
    mischief.say(f"{len(mischief.waiting())} callbacks of {mischief.scheduled} never ran")


async def callbacks(mischief: Mischief) -> None:
    """Handles, timers, contexts, tasks, futures."""
    tasks: list[asyncio.Task[Any]] = []

    async def task(trap: Trap) -> Trap:
        VARIABLE.set(trap)
        await asyncio.sleep(mischief.random.choice((0, 0.0005)))
        if mischief.chance(0.2):
            raise TrapError(mischief)
        return trap

    def make() -> None:
        tasks.append(asyncio.get_running_loop().create_task(task(Trap(mischief))))

    def cancel() -> None:
        taken = take_one(tasks, mischief.random)
        if taken is not None:
            taken.cancel()

    mischief.more = [make, cancel]

    async def step(number: int) -> None:
        make()
        await asyncio.sleep(0)
        if number % 5 == 0:
            left = list(tasks)
            tasks.clear()
            await asyncio.gather(*left, return_exceptions=True)

    await play(mischief, step, 60)
    await asyncio.gather(*tasks, return_exceptions=True)


class Receiver(Trap, asyncio.DatagramProtocol):
    """Counts what comes: each datagram at most once."""

    def __init__(self, mischief: Mischief) -> None:
        super().__init__(mischief)
        self.seen: set[bytes] = set()
        self.lost = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data in self.seen:
            self.mischief.say(f"{data!r} came twice")
        if not data.startswith(b"number "):
            self.mischief.say(f"{data!r} was never sent")
        self.seen.add(data)
        if self.mischief.chance(0.3):
            self.mischief.act()

    def error_received(self, exc: Exception) -> None:
        self.mischief.act()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1
        self.mischief.act()


async def datagrams(mischief: Mischief) -> None:
    """With addresses that are compared, and data that is looked into."""
    loop = asyncio.get_running_loop()
    target, receiver = await loop.create_datagram_endpoint(lambda: Receiver(mischief), ("127.0.0.1", 0))
    host, port = target.get_extra_info("sockname")
    free, _ = await loop.create_datagram_endpoint(lambda: Receiver(mischief), ("127.0.0.1", 0))
    fixed, _ = await loop.create_datagram_endpoint(lambda: Receiver(mischief), remote_addr=(host, port))
    sent = 0

    def send() -> None:
        nonlocal sent
        sent += 1
        data = buffer(mischief, b"number %d" % sent)
        to: Any = address(mischief, host, port)
        if mischief.chance(0.5):
            free.sendto(data, to)
        else:
            fixed.sendto(data, to if mischief.chance(0.3) else None)

    mischief.more = [send] * 4

    async def step(number: int) -> None:
        for _ in range(10):
            send()
        await asyncio.sleep(0)

    try:
        await play(mischief, step)
        if not receiver.seen:
            mischief.say("no datagram came")
    finally:
        mischief.over = True
        for transport in (target, free, fixed):
            transport.close()
        await asyncio.sleep(0.01)
        if receiver.lost != 1:
            mischief.say(f"connection_lost {receiver.lost} times")


async def readers(mischief: Mischief) -> None:
    """add_reader, add_writer and the sock_* calls, replaced and cancelled at any moment."""
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(3)]
    for pair in pairs:
        for sock in pair:
            sock.setblocking(False)
    (one, other), (_, fourth), (fifth, sixth) = pairs
    calls = 0

    def read(trap: Trap) -> None:
        nonlocal calls
        calls += 1
        try:
            other.recv(3)
        except BlockingIOError:
            pass
        mischief.act()

    def watch() -> None:
        loop.add_reader(other, read, Trap(mischief))

    def watch_writing() -> None:
        loop.add_writer(fourth, functools.partial(loop.remove_writer, fourth), *())

    def unwatch() -> None:
        loop.remove_reader(other)

    mischief.more = [watch, watch, watch_writing, unwatch]

    async def step(number: int) -> None:
        one.send(b"abcdefgh")
        watch()
        reading = loop.create_task(loop.sock_recv_into(fifth, buffer(mischief, bytes(100))))
        await asyncio.sleep(0)
        if mischief.chance(0.4):
            reading.cancel()
        await loop.sock_sendall(sixth, buffer(mischief, b"abc"))
        result = (await asyncio.gather(reading, return_exceptions=True))[0]
        if isinstance(result, asyncio.CancelledError):
            if await loop.sock_recv(fifth, 100) != b"abc":
                mischief.say("a cancelled call has taken something")
        elif result != 3:
            mischief.say(f"sock_recv_into: {result!r}")

    try:
        await play(mischief, step, 40)
        if not calls:
            mischief.say("the reader was never called")
    finally:
        mischief.over = True
        loop.remove_reader(other)
        loop.remove_writer(fourth)
        for pair in pairs:
            for sock in pair:
                sock.close()


async def executor(mischief: Mischief) -> None:
    """Functions in threads: their results are theirs, and each of them comes."""
    loop = asyncio.get_running_loop()
    waiting: list[tuple[int, asyncio.Future[Any]]] = []
    count = 0

    def work(number: int, trap: Trap) -> tuple[int, Trap]:
        mischief.let_go()
        if number % 7 == 0:
            raise TrapError(mischief)
        return number, trap

    def start() -> None:
        nonlocal count
        count += 1
        waiting.append((count, loop.run_in_executor(None, work, count, Trap(mischief))))

    async def step(number: int) -> None:
        start()
        start()
        while len(waiting) > 3:
            number, future = waiting.pop(0)
            try:
                result = await asyncio.wait_for(future, 10)
            except TrapError:
                if number % 7:
                    mischief.say(f"function {number} has another's exception")
            except TimeoutError:
                mischief.say("a result never came")
            else:
                if result[0] != number:
                    mischief.say(f"function {number} has the result of {result[0]}")

    await play(mischief, step)
    await asyncio.gather(*(future for _, future in waiting), return_exceptions=True)


SCENARIOS = (callbacks, datagrams, readers, executor)
