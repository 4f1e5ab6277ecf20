"""Scenarios of the fail-call campaign: connections, servers, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from typing import Any

from stage import Echo, Stage, StreamWitness
from tls_certificates import client_context, server_context

SMALL = b"ping"
LARGE = bytes(range(256)) * 1200  # more than a socket takes at once, and than READ_SIZE

#: For TLS, made once: to make a certificate takes longer than a scenario.
contexts = functools.cache(lambda: (server_context(), client_context()))


def small_buffers(stage: Stage, *transports: Any) -> None:
    """So that the kernel's buffer is full soon, and writes are short without any fault.

    Not for receiving: a window that closes is opened again by a timer, tcp(7), and each run would last for seconds.
    """
    with stage.calm():
        for transport in transports:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)


async def _echo(stage: Stage, ssl_contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | None] = (None, None)) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(stage.witness(Echo, "server"), "127.0.0.1", 0, ssl=ssl_contexts[0])
    try:
        with stage.calm():
            port = server.sockets[0].getsockname()[1]
        transport, client = await loop.create_connection(
            stage.witness(StreamWitness, "client"),
            "127.0.0.1",
            port,
            ssl=ssl_contexts[1],
            server_hostname="localhost" if ssl_contexts[1] else None,
        )
        try:
            small_buffers(stage, transport)
            sent = b""
            for data in (SMALL, SMALL + SMALL, LARGE):
                transport.write(data[:2])
                transport.writelines([data[2:3], data[3:]])
                sent += data
                if await client.bytes_in(len(sent)) != sent:
                    client.wrong("other bytes came back than were sent")
        finally:
            transport.close()
        await client.over
    finally:
        server.close()
        await asyncio.wait_for(server.wait_closed(), 5)


def tcp_echo(stage: Stage) -> None:
    stage.run(lambda: _echo(stage))


def small_echo(stage: Stage) -> None:
    """The least that a loop has to be able to do: for the loop that comes after the one with the fault."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        with stage.calm():
            one, other = socket.socketpair()
        first, left = await loop.create_connection(stage.witness(StreamWitness, "left"), sock=one)
        await loop.connect_accepted_socket(stage.witness(Echo, "right"), sock=other)
        first.write(SMALL)
        if await left.bytes_in(len(SMALL)) != SMALL:
            left.wrong("other bytes came back than were sent")
        first.close()
        await left.over

    stage.run(play)


def tls_echo(stage: Stage) -> None:
    stage.run(lambda: _echo(stage, contexts()))


def end_of_stream(stage: Stage) -> None:
    """write_eof, and the peer's answer after it; pausing and resuming."""

    class Answering(StreamWitness):
        def eof_received(self) -> bool:
            super().eof_received()
            self.transport.write(bytes(self.received))
            self.transport.close()
            return True

    async def play() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(stage.witness(Answering, "server"), "127.0.0.1", 0)
        try:
            with stage.calm():
                port = server.sockets[0].getsockname()[1]
            transport, client = await loop.create_connection(stage.witness(StreamWitness, "client"), "127.0.0.1", port)
            try:
                transport.write(LARGE)
                transport.write_eof()
                transport.pause_reading()
                await asyncio.sleep(0)
                transport.resume_reading()
                if await client.bytes_in(len(LARGE)) != LARGE:
                    client.wrong("other bytes came back than were sent")
                await client.over
            finally:
                transport.close()
        finally:
            server.close()

    stage.run(play)


def connect(stage: Stage) -> None:
    """create_connection: to one that listens, with a local address, and to one that doesn't; over a Unix socket."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        with stage.calm():
            listening, deaf = socket.create_server(("127.0.0.1", 0)), socket.socket()
            deaf.bind(("127.0.0.1", 0))
            local = socket.socket(socket.AF_UNIX)
            local.bind("")  # the kernel gives it an abstract name, unix(7)
            local.listen()
            port, nobody = listening.getsockname()[1], deaf.getsockname()[1]
        made: list[asyncio.Transport] = []
        factory = stage.witness(StreamWitness, "client")
        try:
            made.append((await loop.create_connection(factory, "127.0.0.1", port))[0])
            made.append((await loop.create_connection(factory, "127.0.0.1", port, local_addr=("127.0.0.1", 0)))[0])
            made.append((await loop.create_connection(factory, "127.0.0.1", port, happy_eyeballs_delay=0.1))[0])
            with stage.calm():
                name = local.getsockname()
            made.append((await loop.create_unix_connection(factory, name))[0])
            try:
                await loop.create_connection(factory, "127.0.0.1", nobody)
            except OSError:
                pass
            else:
                stage.wrong("connected where nobody listens")
        finally:
            for transport in made:
                transport.close()
            with stage.calm():
                for sock in (listening, deaf, local):
                    sock.close()

    stage.run(play)


def accept(stage: Stage) -> None:
    """A server of TCP and one of a Unix socket take several connections at once, and all are served."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(stage.witness(Echo, "server"), "127.0.0.1", 0)
        clients: list[socket.socket] = []
        try:
            with stage.calm():
                address = server.sockets[0].getsockname()
                for _ in range(4):
                    clients.append(socket.create_connection(address))
                    clients[-1].setblocking(False)
                    clients[-1].send(SMALL)
            answers = [b""] * len(clients)
            for _ in range(400):
                await asyncio.sleep(0.005)
                with stage.calm():
                    for number, sock in enumerate(clients):
                        with contextlib.suppress(BlockingIOError):
                            data = sock.recv(100)
                            answers[number] += data
                            if not SMALL.startswith(answers[number]):
                                stage.wrong(f"{answers[number]!r} came back")
                            if not data:
                                raise ConnectionError("turned away")
                if answers == [SMALL] * len(clients):
                    break
            else:
                stage.wrong(f"clients are left without an answer: {answers}")
        finally:
            with stage.calm():
                for sock in clients:
                    sock.close()
            server.close()

    stage.run(play)


def given_sockets(stage: Stage) -> None:
    """Connections over sockets of the caller's: accepted elsewhere, or one of a pair."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        with stage.calm():
            one, other = socket.socketpair()
            one.setblocking(False)
            other.setblocking(False)
        try:
            first, left = await loop.create_connection(stage.witness(StreamWitness, "left"), sock=one)
            second, _ = await loop.connect_accepted_socket(stage.witness(Echo, "right"), sock=other)
            first.write(LARGE)
            if await left.bytes_in(len(LARGE)) != LARGE:
                left.wrong("other bytes came back than were sent")
            first.close()
            second.close()
            await left.over
        finally:
            with stage.calm():
                one.close()  # whoever failed before there was a transport leaves it to its owner
                other.close()

    stage.run(play)


def start_tls(stage: Stage) -> None:
    """TLS on a connection that is there already, at both ends."""

    async def begin(end: StreamWitness, context: ssl.SSLContext, **options: Any) -> Any:
        try:
            return await end.loop.start_tls(end.transport, end, context, **options)
        except BaseException:
            end.transport.abort()  # or the other end would wait until its handshake's time is over
            raise

    async def play() -> None:
        loop = asyncio.get_running_loop()
        with stage.calm():
            one, other = socket.socketpair()
            one.setblocking(False)
            other.setblocking(False)
        try:
            _, left = await loop.create_connection(stage.witness(StreamWitness, "left"), sock=one)
            _, right = await loop.connect_accepted_socket(stage.witness(Echo, "right"), sock=other)
            server, client = contexts()
            done = await asyncio.gather(
                begin(left, client, server_hostname="localhost"),
                begin(right, server, server_side=True),
                return_exceptions=True,
            )
            for result in done:
                if isinstance(result, BaseException):
                    raise result
            left.transport, right.transport = done
            left.transport.write(LARGE)
            if await left.bytes_in(len(LARGE)) != LARGE:
                left.wrong("other bytes came back than were sent")
            left.transport.close()
            await left.over
            await right.over
        finally:
            with stage.calm():
                one.close()
                other.close()

    stage.run(play)


def streams(stage: Stage) -> None:
    """asyncio's streams: lines there and back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio.streams of Python 3.11 and 3.12 asks a handler's task that was cancelled for its exception, and reports that.
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            try:
                while line := await reader.readline():
                    writer.write(line)
                    await writer.drain()
            finally:
                writer.close()  # also when the run ends first, and cancels the handler
            await writer.wait_closed()

    async def play() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            with stage.calm():
                port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for number in range(3):
                    line = b"%d\n" % number
                    writer.write(line)
                    await writer.drain()
                    answer = await reader.readline()
                    if answer != line:
                        if line.startswith(answer):
                            raise EOFError
                        stage.wrong(f"{answer!r} came back for {line!r}")
            finally:
                writer.close()
                await writer.wait_closed()
        finally:
            server.close()

    stage.run(play)


SCENARIOS = (tcp_echo, tls_echo, end_of_stream, connect, accept, given_sockets, start_tls, streams)
