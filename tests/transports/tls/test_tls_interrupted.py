"""A callback over TLS that ends the run, by Ctrl-C or sys.exit: the connection goes on when the loop runs again."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Iterator
from typing import Any

import pytest
from recording import BufferRecorder, Recorder
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import Peer, secured

ends = pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])


class Connection:
    """A secured connection that outlives a run of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, factory: Any) -> None:
        self.loop = loop
        self.stack = contextlib.AsyncExitStack()
        self.transport, self.protocol, self.peer = self.run(self.stack.enter_async_context(secured(factory)))

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 30))

    def run_into(self, end: type[BaseException], coroutine: Any) -> None:
        async def wait() -> None:
            await coroutine
            await asyncio.sleep(30)

        with pytest.raises(end):
            self.loop.run_until_complete(wait())


@pytest.fixture
def connect(loop: asyncio.AbstractEventLoop) -> Iterator[Any]:
    made: list[Connection] = []

    def connect(factory: Any) -> Connection:
        made.append(Connection(loop, factory))
        return made[-1]

    yield connect
    for connection in made:
        connection.run(connection.stack.aclose())


@ends
@pytest.mark.edgeloop_only  # asyncio has read all of it before, and forgets what is in the way of its answer
@pytest.mark.parametrize("kind", [Recorder, BufferRecorder])
def test_what_follows_is_delivered_in_the_next_run(connect: Any, end: type[BaseException], kind: Any) -> None:
    class Ending(kind):  # type: ignore[misc]
        ended = False

        def note(self, call: str) -> None:
            super().note(call)
            if call in ("data_received", "buffer_updated") and not self.ended:
                self.ended = True
                raise end

    connection = connect(Ending)
    total = 600_000
    connection.transport.pause_reading()
    sending = connection.loop.create_task(connection.peer.send(bytes(total)))
    connection.run(asyncio.sleep(0.05))
    connection.transport.resume_reading()
    connection.run_into(end, asyncio.sleep(0))
    assert 0 < len(connection.protocol.received) < total
    connection.run(connection.protocol.bytes_in(total))
    connection.run(sending)


@ends
def test_what_it_has_written_leaves(connect: Any, end: type[BaseException]) -> None:
    class Ending(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"last words")
            if len(self.received) > 20:
                raise end

    connection = connect(Ending)
    for _ in range(20):
        connection.run(connection.peer.send(b"x"))
        assert connection.run(connection.peer.receive(10)) == b"last words"
    connection.run_into(end, connection.peer.send(b"x"))
    assert select.select([connection.peer.sock], [], [], 0)[0]  # the kernel has it, before the loop runs again
    assert connection.run(connection.peer.receive(10)) == b"last words"


@ends
@pytest.mark.edgeloop_only  # asyncio never closes it
def test_an_end_of_the_data_that_ends_the_run_closes(connect: Any, end: type[BaseException]) -> None:
    class Ending(Recorder):
        def eof_received(self) -> bool | None:
            super().eof_received()
            raise end

    connection = connect(Ending)
    connection.run_into(end, connection.peer.send_close_notify())
    assert connection.run(connection.protocol.lost()) is None
    assert connection.protocol.calls.count("eof_received") == 1


@ends
@pytest.mark.edgeloop_only  # asyncio's create_connection() waits for ever
@pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
def test_connection_made_that_ends_the_run(
    loop: asyncio.AbstractEventLoop, end: type[BaseException], server_side: bool
) -> None:
    class Ending(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise end

    ours, theirs = tcp_pair()
    with theirs:
        peer = Peer(theirs, client_context() if server_side else server_context(), server_side=not server_side)

        async def talk() -> None:
            await peer.handshake()
            await peer.send(b"hello")

        async def connect() -> Any:
            if server_side:
                return await asyncio.get_running_loop().connect_accepted_socket(Ending, ours, ssl=server_context())
            return await asyncio.get_running_loop().create_connection(
                Ending, sock=ours, ssl=client_context(), server_hostname="localhost"
            )

        connecting, talking = loop.create_task(connect()), loop.create_task(talk())
        with pytest.raises(end):
            loop.run_until_complete(asyncio.gather(connecting, talking))
        transport, protocol = loop.run_until_complete(asyncio.wait_for(connecting, 30))
        loop.run_until_complete(asyncio.wait_for(talking, 30))
        assert loop.run_until_complete(asyncio.wait_for(protocol.bytes_in(5), 30)) == b"hello"
        transport.abort()
        loop.run_until_complete(asyncio.wait_for(protocol.lost(), 30))
