"""connection_made that raises SystemExit or KeyboardInterrupt: the connection goes on when the loop runs again."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pipe_recording import PipeRecorder, read_all
from recording import Recorder, Run

Loop = asyncio.AbstractEventLoop
INTERRUPTIONS = [KeyboardInterrupt, SystemExit]


def interrupted(base: type[Any], interruption: type[BaseException]) -> Callable[[], Any]:
    class Interrupted(base):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise interruption

    return Interrupted


def made_in_two_runs(
    loop: Loop, interruption: type[BaseException], connecting: Coroutine[Any, Any, tuple[Any, Any]]
) -> tuple[Any, Any]:
    """Connect; the first run ends by the interruption, the second gives the transport and the protocol."""
    task = loop.create_task(connecting)
    with pytest.raises(interruption):
        loop.run_until_complete(asyncio.wait_for(asyncio.shield(task), 10))
    return loop.run_until_complete(asyncio.wait_for(task, 10))


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_a_stream_goes_on(loop: Loop, interruption: type[BaseException]) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        factory = interrupted(Recorder, interruption)
        transport, protocol = made_in_two_runs(loop, interruption, loop.create_connection(factory, sock=ours))
        theirs.send(b"heard")
        assert loop.run_until_complete(asyncio.wait_for(protocol.bytes_in(5), 10)) == b"heard"
        transport.close()
        loop.run_until_complete(protocol.lost())


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_accepted_connection_goes_on(loop: Loop, interruption: type[BaseException]) -> None:
    accepted: list[Any] = []

    def factory() -> Any:
        accepted.append(interrupted(Recorder, interruption)())
        return accepted[-1]

    async def talk(client: socket.socket) -> None:
        assert await accepted[0].bytes_in(5) == b"heard"
        accepted[0].transport.write(b"answered")
        assert await loop.sock_recv(client, 100) == b"answered"
        accepted[0].transport.close()
        await accepted[0].lost()

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.setblocking(False)
        with pytest.raises(interruption):
            loop.run_until_complete(asyncio.sleep(10))
        client.send(b"heard")
        loop.run_until_complete(asyncio.wait_for(talk(client), 10))
    server.close()
    loop.run_until_complete(server.wait_closed())


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_a_stream_that_closes_before_it_is_interrupted_is_lost(loop: Loop, interruption: type[BaseException]) -> None:
    class Closing(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.close()

    ours, theirs = socket.socketpair()
    with theirs:
        factory = interrupted(Closing, interruption)
        transport, protocol = made_in_two_runs(loop, interruption, loop.create_connection(factory, sock=ours))
        loop.run_until_complete(asyncio.wait_for(protocol.lost(), 10))
        assert transport.is_closing()
        assert theirs.recv(1) == b""


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_endpoint_goes_on(loop: Loop, interruption: type[BaseException]) -> None:
    class Datagrams(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.note("connection_made")

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.data_received(data)

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with theirs:
        factory = interrupted(Datagrams, interruption)
        connecting = loop.create_datagram_endpoint(factory, sock=ours)
        transport, protocol = made_in_two_runs(loop, interruption, connecting)
        theirs.send(b"heard")
        assert loop.run_until_complete(asyncio.wait_for(protocol.bytes_in(5), 10)) == b"heard"
        transport.close()
        loop.run_until_complete(protocol.lost())
        loop.run_until_complete(asyncio.sleep(0))


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_a_read_pipe_goes_on(loop: Loop, interruption: type[BaseException]) -> None:
    read, write = os.pipe()
    factory = interrupted(PipeRecorder, interruption)
    connecting = loop.connect_read_pipe(factory, open(read, "rb", 0))
    transport, protocol = made_in_two_runs(loop, interruption, connecting)
    os.write(write, b"heard")
    assert loop.run_until_complete(asyncio.wait_for(protocol.bytes_in(5), 10)) == b"heard"
    os.close(write)
    loop.run_until_complete(asyncio.wait_for(protocol.lost(), 10))
    assert transport.is_closing()


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_a_write_pipe_goes_on(loop: Loop, interruption: type[BaseException]) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    factory = interrupted(PipeRecorder, interruption)
    connecting = loop.connect_write_pipe(factory, open(write, "wb", 0))
    transport, protocol = made_in_two_runs(loop, interruption, connecting)
    transport.write(b"x" * 1_000_000)
    received = 0

    async def empty() -> None:
        nonlocal received
        while received < 1_000_000:
            received += len(read_all(read))
            await asyncio.sleep(0)

    loop.run_until_complete(asyncio.wait_for(empty(), 10))
    os.close(read)  # and that the reader has gone is noticed
    loop.run_until_complete(asyncio.wait_for(protocol.lost(), 10))


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_a_child_goes_on(loop: Loop, interruption: type[BaseException]) -> None:
    class Child(asyncio.SubprocessProtocol):
        def __init__(self) -> None:
            self.output = b""
            self.over = loop.create_future()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise interruption

        def pipe_data_received(self, fd: int, data: bytes) -> None:
            self.output += data

        def connection_lost(self, exc: Exception | None) -> None:
            self.over.set_result(None)

    async def talk(transport: Any, protocol: Any) -> bytes:
        transport.get_pipe_transport(0).write(b"echo")
        transport.get_pipe_transport(0).close()
        await protocol.over
        transport.close()
        return protocol.output  # type: ignore[no-any-return]

    connecting = loop.subprocess_exec(Child, "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
    transport, protocol = made_in_two_runs(loop, interruption, connecting)
    assert loop.run_until_complete(asyncio.wait_for(talk(transport, protocol), 20)) == b"echo"


@pytest.mark.edgeloop_only  # asyncio's own transport forgets its waiters then
def test_what_the_protocol_lacks_keeps_no_child_from_its_end(run: Run, loop: Loop) -> None:
    """Each of these methods is looked up when it is called, and the AttributeError is reported."""
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))

    class Sparse(asyncio.BaseProtocol):
        pass

    async def main() -> None:
        transport, _ = await loop.subprocess_exec(Sparse, "echo", "x", stdin=None, stderr=None)
        assert await transport._wait() == 0  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        transport.close()

    run(main())
    assert all(isinstance(context["exception"], AttributeError) for context in reported)


@pytest.mark.edgeloop_only  # asyncio's own transport never tells the end then
def test_a_read_pipe_ends_when_its_protocol_has_no_eof_received(run: Run, loop: Loop) -> None:
    lost = loop.create_future()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))

    class Sparse(asyncio.BaseProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set_result(exc)

    async def main() -> None:
        read, write = os.pipe()
        await loop.connect_read_pipe(Sparse, open(read, "rb", 0))
        os.close(write)
        assert await lost is None

    run(main())
    assert [type(context["exception"]) for context in reported] == [AttributeError]
