"""Small programs of one kind of work each, for counting what one more piece of it costs.

``python -m benchmarks.scenarios NAME COUNT [LOOP]`` in the folder above this one; LOOP is edgeloop if it isn't given.

Both ends of a conversation are in the program, and nothing in it depends on when something happens: two runs of one length
execute the same instructions, but for a few.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

# What the server of ``accept`` keeps to, as JSON: for what limits cost.
LIMITS: dict[str, Any] = json.loads(os.environ.get("SCENARIO_LIMITS", "{}"))

# What is switched on for an edgeloop, by the names of edgeloop's functions: "measure share watch" for what watching costs.
WATCHING = os.environ.get("SCENARIO_WATCHING", "").split()


class Server(asyncio.Protocol):
    """Sends back what it receives."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def echo(count: int, answering: Callable[[], asyncio.Protocol] = Server) -> None:
    """A message and its answer, Protocol to Protocol."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    done = loop.create_future()

    class Client(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.left = transport, count
            transport.write(b"ping")

        def data_received(self, data: bytes) -> None:
            self.left -= 1
            if self.left:
                self.transport.write(b"ping")
            else:
                done.set_result(None)

    server, _ = await loop.connect_accepted_socket(answering, ours)
    client, _ = await loop.create_connection(Client, sock=theirs)
    await done
    client.close()
    server.close()
    await asyncio.sleep(0)


async def buffered(count: int) -> None:
    """A message and its answer, BufferedProtocol to BufferedProtocol, one of 32 such pairs."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    pairs = 32
    left = count

    class Server(asyncio.BufferedProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.buffer = memoryview(bytearray(65536))

        def get_buffer(self, sizehint: int) -> memoryview:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.transport.write(bytes(self.buffer[:nbytes]))

    class Client(Server):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.write(b"ping")

        def buffer_updated(self, nbytes: int) -> None:
            nonlocal left
            left -= 1
            if left >= pairs:
                super().buffer_updated(nbytes)
            elif not left:
                done.set_result(None)

    transports: list[asyncio.BaseTransport] = []
    for _ in range(pairs):
        ours, theirs = socket.socketpair()
        transports.append((await loop.connect_accepted_socket(Server, ours))[0])
        transports.append((await loop.create_connection(Client, sock=theirs))[0])
    await done
    for transport in transports:
        transport.close()
    await asyncio.sleep(0)


async def tls(count: int) -> None:
    """1 KiB and its answer, encrypted, Protocol to Protocol."""
    from benchmarks.listening import CERTIFICATE, server_context
    from benchmarks.processes import make_certificate

    with tempfile.TemporaryDirectory() as folder:
        make_certificate(Path(folder, CERTIFICATE))
        ours = server_context(Path(folder))
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.check_hostname = False
    theirs.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    message = bytes(1024)

    class Client(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.left = transport, count
            transport.write(message)

        def data_received(self, data: bytes) -> None:
            self.left -= 1
            if self.left:
                self.transport.write(message)
            else:
                done.set_result(None)

    server = await loop.create_server(Server, "127.0.0.1", 0, ssl=ours)
    client, _ = await loop.create_connection(Client, *server.sockets[0].getsockname(), ssl=theirs)
    await done
    client.abort()
    server.close()
    await asyncio.sleep(0)


async def streams(count: int) -> None:
    """A line and its answer, through asyncio's streams."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(count):
        writer.write(b"ping\n")
        await reader.readline()
    writer.close()
    await writer.wait_closed()
    server.close()


async def accept(count: int) -> None:
    """A connection that is accepted and closed by its client, of those that come fifty at a time, from plain sockets."""
    loop = asyncio.get_running_loop()
    made = lost = 0

    class Counting(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            nonlocal made
            made += 1

        def connection_lost(self, exc: Exception | None) -> None:
            nonlocal lost
            lost += 1

    server = await loop.create_server(Counting, "127.0.0.1", 0, **LIMITS)
    address = server.sockets[0].getsockname()
    for connected in range(50, count + 1, 50):
        theirs = [socket.create_connection(address) for _ in range(50)]
        while made < connected:
            await asyncio.sleep(0)
        for client in theirs:
            client.close()
        while lost < connected:
            await asyncio.sleep(0)
    server.close()


async def sock(count: int) -> None:
    """A message and its answer, by sock_recv and sock_sendall."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    async def serve() -> None:
        while data := await loop.sock_recv(theirs, 100):
            await loop.sock_sendall(theirs, data)

    server = asyncio.create_task(serve())
    for _ in range(count):
        await loop.sock_sendall(ours, b"ping")
        await loop.sock_recv(ours, 100)
    ours.close()
    await server
    theirs.close()


async def datagrams(count: int) -> None:
    """A datagram received, of those that come fifty at a time; sent by a plain socket."""
    loop = asyncio.get_running_loop()
    theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    class Server(asyncio.DatagramProtocol):
        counted = 0

        def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
            self.counted += 1

    transport, protocol = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    theirs.connect(transport.get_extra_info("sockname"))
    for sent in range(50, count + 1, 50):
        for _ in range(50):
            theirs.send(b"ping")
        while protocol.counted < sent:
            await asyncio.sleep(0)
    transport.close()
    theirs.close()


async def yields(count: int) -> None:
    """A sleep(0)."""
    for _ in range(count):
        await asyncio.sleep(0)


async def callbacks(count: int) -> None:
    """A call_soon, each by the callback of the one before."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def call(left: int) -> None:
        if left:
            loop.call_soon(call, left - 1)
        else:
            done.set_result(None)

    call(count)
    await done


async def batches(count: int) -> None:
    """A call_soon, with a thousand others in the same turn."""
    loop = asyncio.get_running_loop()

    def nothing() -> None:
        pass

    for _ in range(count // 1000):
        for _ in range(1000):
            loop.call_soon(nothing)
        await asyncio.sleep(0)


async def arguments(count: int) -> None:
    """A call_soon with two arguments, with a thousand others in the same turn."""
    loop = asyncio.get_running_loop()

    def nothing(first: object, second: object) -> None:
        pass

    for _ in range(count // 1000):
        for number in range(1000):
            loop.call_soon(nothing, loop, number)
        await asyncio.sleep(0)


async def threadsafe(count: int) -> None:
    """A call_soon_threadsafe by the loop's own thread, with a thousand others in the same turn."""
    loop = asyncio.get_running_loop()

    def nothing() -> None:
        pass

    for _ in range(count // 1000):
        for _ in range(1000):
            loop.call_soon_threadsafe(nothing)
        await asyncio.sleep(0)


async def tasks(count: int) -> None:
    """A task that is made, runs and is awaited."""

    async def nothing() -> None:
        pass

    for _ in range(count):
        await asyncio.create_task(nothing())


async def timeouts(count: int) -> None:
    """A timer that is set and cancelled; a turn for each hundred."""
    loop = asyncio.get_running_loop()
    for number in range(count):
        loop.call_later(10, print).cancel()
        if not number % 100:
            await asyncio.sleep(0)


async def timers(count: int) -> None:
    """A timer that fires, with a thousand others at the same moment."""
    loop = asyncio.get_running_loop()

    def nothing() -> None:
        pass

    for _ in range(count // 1000):
        when = loop.time()
        for _ in range(1000):
            loop.call_at(when, nothing)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


SCENARIOS: dict[str, Callable[[int], Coroutine[Any, Any, None]]] = {
    scenario.__name__: scenario
    for scenario in (
        echo,
        buffered,
        tls,
        streams,
        accept,
        sock,
        datagrams,
        yields,
        callbacks,
        batches,
        arguments,
        threadsafe,
        tasks,
        timeouts,
        timers,
    )
}


def main() -> None:
    scenario, count, *loop = sys.argv[1:]
    if loop:
        from benchmarks.loops import factory_or_exit

        factory = factory_or_exit(loop[0])
    else:  # nothing else of benchmarks: the tests trace a copy of this file by itself
        from edgeloop import new_event_loop as factory
        from edgeloop.serving import listener
        from edgeloop.transports import datagram

        # Valgrind makes a program fifty times as slow. A batch that is delivered in a tenth of this would be cut.
        datagram.DELIVER_SECONDS = 1.0
        listener.ACCEPT_SECONDS = 1.0
    with asyncio.Runner(loop_factory=factory) as runner:
        if WATCHING:
            import edgeloop

            for name in WATCHING:
                # The watchdog looks twice in each threshold, whatever the loop does: not in the time that valgrind takes.
                arguments = (1e6,) if name == "watch" else ()
                getattr(edgeloop, name)(runner.get_loop(), *arguments)
        runner.run(SCENARIOS[scenario](int(count)))


if __name__ == "__main__":
    main()
