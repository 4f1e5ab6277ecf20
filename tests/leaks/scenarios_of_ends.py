"""Scenarios for the hunt for leaks: what is raised, cancelled, refused, reset or given up in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from scenarios_of_streams import LARGE, SMALL, contexts
from stage import Echo, Stage, StreamWitness


class Oops(OSError):
    """What callbacks raise here: one that is documented, or the stage would complain."""


def raising_callbacks(stage: Stage) -> None:
    """Callbacks, timers, readers, tasks and done callbacks that raise."""

    def fail(*arguments: object) -> None:
        raise Oops(*arguments)

    async def play() -> None:
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            loop.call_soon(fail, 1)
            loop.call_later(0.0005, fail, 2)
            loop.call_soon_threadsafe(fail, 3)
            loop.add_writer(one, fail, one)
            loop.create_future().add_done_callback(fail)
            ended = loop.create_future()
            ended.add_done_callback(fail)
            ended.set_result(None)
            with contextlib.suppress(Oops):
                await loop.run_in_executor(None, fail, 4)
            await asyncio.sleep(0.002)
            loop.remove_writer(one)
        loop.call_later(0.0001, fail, 5).cancel()

    stage.run(play)


class Raising(StreamWitness):
    """Raises in the callback of that name."""

    def __init__(self, stage: Stage, name: str) -> None:
        super().__init__(stage, name)
        method = getattr(self, name)

        def fail(*arguments: Any) -> Any:
            method(*arguments)
            raise Oops(name)

        setattr(self, name, fail)


def raising_protocols(stage: Stage) -> None:
    """Protocols of which each callback raises, in the clear and under TLS."""

    async def connection(name: str, tls: bool) -> None:
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        server, client = contexts() if tls else (None, None)
        made = await asyncio.gather(
            loop.create_connection(
                stage.witness(Raising, name), sock=one, ssl=client, server_hostname="localhost" if tls else None
            ),
            loop.connect_accepted_socket(stage.witness(Echo, "right"), sock=other, ssl=server),
            return_exceptions=True,
        )
        ends = [result for result in made if not isinstance(result, BaseException)]
        for transport, _ in ends:
            transport.write(LARGE)
            transport.writelines([SMALL, SMALL])
        await asyncio.sleep(0.002)
        for transport, _ in ends:
            transport.close()
        await asyncio.gather(*(protocol.over for _, protocol in ends))

    async def play() -> None:
        for tls in (False, True):
            for name in ("connection_made", "data_received", "eof_received", "connection_lost", "pause_writing"):
                await connection(name, tls)

    stage.run(play)


def cancelled_awaits(stage: Stage) -> None:
    """Each call that waits is cancelled while it does."""

    async def cancelled(waiting: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            result = await task
            if isinstance(result, tuple) and hasattr(result[0], "close"):
                result[0].close()

    async def play() -> None:
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        with one, other, socket.create_server(("127.0.0.1", 0)) as listening:
            for sock in (one, other, listening):
                sock.setblocking(False)
            address = listening.getsockname()
            factory = stage.witness(StreamWitness, "client")
            _, client = contexts()
            await cancelled(loop.sock_recv(one, 10))
            await cancelled(loop.sock_recv_into(one, bytearray(10)))
            await cancelled(loop.sock_sendall(one, bytes(2_000_000)))
            await cancelled(loop.create_connection(factory, *address, ssl=client, server_hostname="localhost"))
            await cancelled(loop.create_connection(factory, *address))
            await cancelled(loop.sock_accept(listening))
            await cancelled(loop.getnameinfo(address))
            reader, writer = await asyncio.open_connection(*address)
            await cancelled(reader.read(10))
            await cancelled(reader.readuntil(b"x"))
            await cancelled(
                loop.start_tls(writer.transport, writer.transport.get_protocol(), client, server_hostname="x")
            )
            writer.close()
            await cancelled(asyncio.sleep(5))

    stage.run(play)


def resets(stage: Stage) -> None:
    """Connections that the peer resets: while one reads, writes, is paused, shakes hands."""

    async def reset(tls: bool, then: Callable[[Any], object]) -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            factory = stage.witness(StreamWitness, "client")
            client = contexts()[1] if tls else None
            connecting = asyncio.ensure_future(
                loop.create_connection(
                    factory, *listening.getsockname(), ssl=client, server_hostname="localhost" if tls else None
                )
            )
            peer, _ = await loop.sock_accept(listening)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if tls:
                peer.close()
                await asyncio.wait([connecting])
                connecting.exception()
                return
            transport, protocol = await connecting
            then(transport)
            peer.close()
            transport.resume_reading()
            await protocol.over

    async def play() -> None:
        await reset(True, id)
        for then in (
            lambda transport: transport.write(LARGE * 20),
            lambda transport: transport.pause_reading(),
            lambda transport: transport.write_eof(),
        ):
            await reset(False, then)

    stage.run(play)


def given_up(stage: Stage) -> None:
    """Loops that are closed while all kinds of things wait, and one that is only dropped."""
    loop = stage.new_loop()
    loop.set_exception_handler(lambda loop, context: None)
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        loop.call_later(1000, id, loop)
        loop.call_soon(id, loop)
        loop.add_reader(one, id, loop)

        async def wait() -> None:
            await asyncio.sleep(0)

        loop.run_until_complete(wait())
        handle = loop.call_at(loop.time() + 50, id, loop)
        future = loop.create_future()
        future.add_done_callback(id)
        loop.remove_reader(one)
        loop.close()
        handle.cancel()
        with contextlib.suppress(RuntimeError):
            loop.call_soon(id, loop)
    gc.collect()


def replaced(stage: Stage) -> None:
    """Protocols, handlers, factories and executors that take another's place."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        first, left = await loop.create_connection(stage.witness(StreamWitness, "left"), sock=one)
        second, right = await loop.connect_accepted_socket(stage.witness(Echo, "right"), sock=other)
        for _ in range(5):
            first.write(SMALL)
            second.set_protocol(right)
            await asyncio.sleep(0)
        await left.bytes_in(5 * len(SMALL))
        loop.set_task_factory(lambda loop, coroutine, **keywords: asyncio.Task(coroutine, loop=loop, **keywords))
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.001))
        loop.set_task_factory(None)
        loop.set_debug(True)
        await asyncio.sleep(0)
        loop.set_debug(False)
        first.abort()
        await left.over

    stage.run(play)


SCENARIOS = (raising_callbacks, raising_protocols, cancelled_awaits, resets, given_up, replaced)
