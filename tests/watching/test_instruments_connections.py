"""What instruments are told of connections: beginnings, ends, accept(2) that fails, and the events of each."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from few_descriptors import Clients, body, finish, start
from recording import Echo, Recorder, Run, attach, record_errors, reset, turn, turns
from sockets import Pair, tcp_pair

import edgeloop

pytestmark = pytest.mark.edgeloop_only


class Connections(edgeloop.Instrument):
    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.errors: list[BaseException | None] = []
        self.callbacks: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append(("made", transport))

    def connection_lost(self, transport: asyncio.BaseTransport, exc: BaseException | None) -> None:
        self.calls.append(("lost", transport))
        self.errors.append(exc)
        assert transport.get_extra_info("socket") is not None  # what it was can still be asked

    def before_callback(self, handle: asyncio.Handle) -> None:
        self.callbacks.append(self.describe(handle))


@pytest.fixture
def loop(loop: Any) -> Any:
    return loop


@pytest.fixture
def instrument(loop: Any) -> Connections:
    instrument = Connections()
    loop.add_instrument(instrument)
    return instrument


def test_a_connection_is_told_when_it_begins_and_when_it_ends(run: Run, instrument: Connections, pair: Pair) -> None:
    async def main() -> Any:
        transport = await attach(pair[0], Echo())
        assert instrument.calls == [("made", transport)]
        transport.close()
        await turns()
        return transport

    transport = run(main())
    assert instrument.calls == [("made", transport), ("lost", transport)]
    assert instrument.errors == [None]


def test_the_error_of_a_connection_is_told(run: Run, instrument: Connections) -> None:
    ours, theirs = tcp_pair()

    async def main() -> None:
        recorder = Recorder()
        await attach(ours, recorder)
        reset(theirs)
        await recorder.lost()
        await turns()

    run(main())
    assert [type(exc) for exc in instrument.errors] == [ConnectionResetError]


def test_both_ends_of_a_server_s_connection_are_told(run: Run, loop: Any, instrument: Connections) -> None:
    async def main() -> None:
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        transport, recorder = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
        transport.write(b"hello")
        assert await recorder.bytes_in(5) == b"hello"
        transport.close()
        server.close()
        await server.wait_closed()
        await turns()

    run(main())
    assert sorted(name for name, _ in instrument.calls) == ["lost", "lost", "made", "made"]
    assert {"Listener", "Echo", "Recorder"} <= set(instrument.callbacks)


def test_a_protocol_that_fails_in_connection_made_has_been_told_of(
    run: Run, loop: Any, instrument: Connections, pair: Pair
) -> None:
    errors = record_errors(loop)

    class Failing(Echo):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise ValueError

        def connection_lost(self, exc: Exception | None) -> None:
            raise ValueError

    async def main() -> None:
        transport = await attach(pair[0], Failing())
        transport.abort()
        await turns()

    run(main())
    assert [name for name, _ in instrument.calls] == ["made", "lost"]
    assert len(errors) == 2


def test_datagram_endpoints_and_pipes_are_told(run: Run, loop: Any, instrument: Connections) -> None:
    reading, writing = os.pipe()

    async def main() -> None:
        endpoint, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        endpoint.close()
        await turns()
        pipe, _ = await loop.connect_read_pipe(asyncio.Protocol, open(reading, "rb", 0))
        os.close(writing)
        while pipe.get_extra_info("pipe").closed is False:
            await asyncio.sleep(0)

    class Pipes(Connections):
        def connection_lost(self, transport: asyncio.BaseTransport, exc: BaseException | None) -> None:
            self.calls.append(("lost", transport))

    loop.remove_instrument(instrument)
    pipes = Pipes()
    loop.add_instrument(pipes)
    run(main())
    assert [name for name, _ in pipes.calls] == ["made", "lost", "made", "lost"]


@pytest.mark.parametrize("name", ["connection_made", "connection_lost", "before_callback"])
def test_an_instrument_that_fails_leaves_connections_as_they_are(run: Run, loop: Any, pair: Pair, name: str) -> None:
    errors = record_errors(loop)
    loop.add_instrument(type("Failing", (), {name: lambda *args: 1 / 0})())

    async def main() -> list[str]:
        recorder = Recorder()
        transport = await attach(pair[0], recorder)
        pair[1].send(b"hello")
        assert await recorder.bytes_in(5) == b"hello"
        transport.close()
        await recorder.lost()
        return recorder.calls

    assert run(main()) == ["connection_made", "data_received", "connection_lost"]
    assert [type(error["exception"]) for error in errors] == [ZeroDivisionError]


def test_ctrl_c_in_an_instrument_leaves_a_connection_that_works(loop: Any, pair: Pair) -> None:
    class Interrupting:
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise KeyboardInterrupt

        def before_callback(self, handle: asyncio.Handle) -> None:
            if edgeloop.Instrument.describe(handle) == "Recorder":
                loop.remove_instrument(self)
                raise KeyboardInterrupt

    loop.add_instrument(Interrupting())
    recorders: list[Recorder] = []

    async def main() -> None:
        recorders.append(Recorder())
        await attach(pair[0], recorders[0])

    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    loop.run_until_complete(task)
    (recorder,) = recorders
    assert recorder.calls == ["connection_made"]
    pair[1].send(b"hello")
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(recorder.bytes_in(5))
    assert loop.run_until_complete(recorder.bytes_in(5)) == b"hello"
    recorder.transport.close()
    turn(loop, 2)


def test_accept_that_fails_is_told(run: Run, loop: Any) -> None:
    errors = record_errors(loop)
    failed: list[tuple[Any, OSError]] = []

    class Failures:
        def accept_failed(self, sock: Any, exc: OSError) -> None:
            failed.append((sock.getsockname(), exc))

    loop.add_instrument(Failures())

    async def main() -> Any:
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        server.sockets[0].shutdown(socket.SHUT_RDWR)  # accept(2): EINVAL, the socket does not listen
        while not failed:
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()
        return address

    address = run(main())
    assert [(where, exc.errno) for where, exc in failed] == [(address, errno.EINVAL)]
    assert [error["exception"] for error in errors] == [failed[0][1]]


def test_each_accept_without_a_descriptor_is_told(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    code = """
    class Failures:
        count = 0
        def accept_failed(self, sock, exc):
            self.count += 1
    failures = Failures()
    loop.add_instrument(failures)
    print("watching", flush=True)
    await until(lambda: failures.count >= 3 and len(reports) == 1)
    """
    child = start(loop_factory, body(code, spare=0))
    assert child.stdout is not None
    port = int(child.stdout.readline())
    assert child.stdout.readline() == "watching\n"
    clients = Clients(port, 3)
    try:
        assert [clients.answer(index) for index in range(3)] == [b"", b"", b""]
    finally:
        clients.close()
    finish(child)
