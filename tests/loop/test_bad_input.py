"""Arguments that make no sense, states that forbid a call, and programs that fail: the error, and nothing left behind.

Errors of one method stand with its other tests; here are those that cut across methods.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from recording import Recorder, Run, connected, receive, record_errors, reset

Call = Callable[[asyncio.AbstractEventLoop], Any]

TOO_FEW: dict[str, Call] = {
    "call_soon": lambda loop: loop.call_soon(),  # type: ignore[call-arg]
    "call_later": lambda loop: loop.call_later(1),  # type: ignore[call-arg]
    "call_at": lambda loop: loop.call_at(1),  # type: ignore[call-arg]
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(),  # type: ignore[call-arg]
    "run_in_executor": lambda loop: loop.run_in_executor(None),  # type: ignore[call-arg]
    "add_reader": lambda loop: loop.add_reader(0),  # type: ignore[call-arg]
    "add_signal_handler": lambda loop: loop.add_signal_handler(signal.SIGUSR1),  # type: ignore[call-arg]
    "create_task": lambda loop: loop.create_task(),  # type: ignore[call-arg]
    "run_until_complete": lambda loop: loop.run_until_complete(),  # type: ignore[call-arg]
    "create_connection": lambda loop: loop.create_connection(),  # type: ignore[call-overload]
    "create_server": lambda loop: loop.create_server(),  # type: ignore[call-overload]
    "sock_recv": lambda loop: loop.sock_recv(),  # type: ignore[call-arg]
}
UNKNOWN: dict[str, Call] = {
    "call_soon": lambda loop: loop.call_soon(print, unknown=1),  # type: ignore[call-arg]
    "call_later": lambda loop: loop.call_later(1, print, unknown=1),  # type: ignore[call-arg]
    "create_connection": lambda loop: loop.create_connection(Recorder, "::1", 1, unknown=1),  # type: ignore[call-overload]
    "create_server": lambda loop: loop.create_server(Recorder, "::1", 1, unknown=1),  # type: ignore[call-overload]
    "create_unix_server": lambda loop: loop.create_unix_server(Recorder, "x", unknown=1),  # type: ignore[call-arg]
    "getaddrinfo": lambda loop: loop.getaddrinfo("::1", 1, unknown=1),  # type: ignore[call-arg]
}


@pytest.mark.parametrize("call", TOO_FEW.values(), ids=TOO_FEW)
def test_too_few_arguments(loop: asyncio.AbstractEventLoop, call: Call) -> None:
    with pytest.raises(TypeError):
        call(loop)


@pytest.mark.parametrize("call", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_keywords(loop: asyncio.AbstractEventLoop, call: Call) -> None:
    with pytest.raises(TypeError, match="unknown"):
        loop.run_until_complete(call(loop))  # those that take limits look at them when they run


@pytest.mark.parametrize("wrong", [None, 42, "text", 3j], ids=str)
def test_what_cannot_be_awaited(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"An asyncio\.Future, a coroutine or an awaitable is required"):
        loop.run_until_complete(wrong)


def test_a_callback_that_is_not_callable_outside_debug_mode(loop: asyncio.AbstractEventLoop) -> None:
    """Accepted like in asyncio; the call's TypeError goes to the exception handler."""
    contexts = record_errors(loop)
    wrong: Any = 42
    loop.call_soon(wrong)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert [type(context["exception"]) for context in contexts] == [TypeError]


def test_a_context_of_a_wrong_type(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)
    wrong: Any = "context"
    called: list[int] = []
    try:
        loop.call_soon(called.append, 1, context=wrong)
        loop.stop()
        loop.run_forever()
    except (TypeError, AttributeError) as exc:
        contexts.append({"exception": exc})
    assert called == []
    assert [type(context["exception"]) for context in contexts] in ([AttributeError], [TypeError])


def test_a_callback_with_wrong_arguments(loop: asyncio.AbstractEventLoop) -> None:
    contexts = record_errors(loop)

    def never(argument: int) -> None:
        raise AssertionError("called with the wrong number of arguments")

    one: Any = never
    loop.call_soon(one)
    loop.call_soon(one, 1, 2)
    loop.call_later(0, one)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert [type(context["exception"]) for context in contexts] == [TypeError] * 3


NETWORK: dict[str, Callable[[asyncio.AbstractEventLoop], Awaitable[Any]]] = {
    "create_connection": lambda loop: loop.create_connection(Recorder, "127.0.0.1", 9),
    "create_server": lambda loop: loop.create_server(Recorder, "127.0.0.1", 0),
    "create_unix_connection": lambda loop: loop.create_unix_connection(Recorder, "/nowhere/socket"),
    "create_unix_server": lambda loop: loop.create_unix_server(Recorder, "/nowhere/socket"),
    "getaddrinfo": lambda loop: loop.getaddrinfo("localhost", 80),
}


@pytest.mark.parametrize("start", NETWORK.values(), ids=NETWORK)
def test_coroutines_of_a_closed_loop(
    loop: asyncio.AbstractEventLoop,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    start: Callable[[asyncio.AbstractEventLoop], Awaitable[Any]],
    run: Run,
) -> None:
    closed = loop_factory()
    closed.close()

    async def main() -> None:
        await start(closed)

    with pytest.raises((RuntimeError, OSError)):
        run(main())


@pytest.mark.parametrize("wrong", [None, 42, "text"], ids=str)
async def test_a_protocol_factory_that_is_not_callable(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TypeError, match="not callable"):
        await loop.create_connection(wrong, sock=ours)


@pytest.mark.parametrize("wrong", [42, "text", 3j], ids=str)
async def test_a_socket_that_is_none(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    for create in (loop.create_connection, loop.create_server):
        with pytest.raises(AttributeError, match="type"):
            await create(Recorder, sock=wrong)


async def test_a_host_of_a_wrong_type(loop: asyncio.AbstractEventLoop) -> None:
    wrong: Any = 42
    with pytest.raises((TypeError, AttributeError)):
        await loop.create_connection(Recorder, wrong, 80)
    with pytest.raises((TypeError, AttributeError)):
        await loop.create_server(Recorder, wrong, 80)


async def test_a_closed_socket(loop: asyncio.AbstractEventLoop) -> None:
    sock = socket.socket()
    sock.close()
    with pytest.raises((OSError, ValueError)):
        await loop.create_connection(Recorder, sock=sock)
    with pytest.raises((OSError, ValueError)):
        await loop.create_server(Recorder, sock=sock)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("callback", ["connection_made", "eof_received", "connection_lost", "pause_writing"])
def test_exit_out_of_a_protocol_callback(
    loop: asyncio.AbstractEventLoop, run: Run, callback: str, kind: type[BaseException]
) -> None:
    """It leaves run_forever; afterwards the loop works and every other connection is as it was."""

    class Exits(Recorder):
        def note(self, call: str) -> None:
            super().note(call)
            if call == callback and self.calls.count(call) == 1:
                raise kind(call)

    ours, theirs = socket.socketpair()
    bystander, other = socket.socketpair()
    theirs.setblocking(False)
    with theirs, other:
        steady, steady_protocol = run(loop.create_connection(Recorder, sock=bystander))
        with pytest.raises(kind, match=callback):
            loop.run_until_complete(provoke(loop, Exits, ours, theirs))
        assert not loop.is_running()
        other.send(b"bystander")
        assert run(steady_protocol.bytes_in(9)) == b"bystander"
        steady.abort()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        run(asyncio.sleep(0.002))
        theirs.close()
        run(asyncio.sleep(0.002))
    gc.collect()


async def provoke(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], Recorder], ours: socket.socket, theirs: socket.socket
) -> None:
    """Make every callback happen: data, a full buffer, the peer's end, the close."""
    transport, protocol = await loop.create_connection(factory, sock=ours)
    theirs.send(b"data")
    await protocol.bytes_in(4)
    transport.write(bytes(3_000_000))
    await receive(theirs, 3_000_000)
    theirs.close()
    await protocol.lost()
    await asyncio.sleep(1)


async def test_nothing_is_left_of_a_thousand_failures(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Recorder, "127.0.0.1", 0):
        pass  # whatever a loop keeps for all its servers is there from now on
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for _ in range(200):
            with pytest.raises(ConnectionRefusedError):
                await loop.create_connection(Recorder, *closed.getsockname())
    for _ in range(200):
        with pytest.raises(FileNotFoundError):
            await loop.create_unix_connection(Recorder, "/nowhere/socket")
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(protocol := Recorder())
        return protocol

    async with await loop.create_server(accept, "127.0.0.1", 0) as server:
        for _ in range(200):
            with pytest.raises(OSError, match="address already in use"):
                await loop.create_server(Recorder, *server.sockets[0].getsockname())
        for _ in range(10):
            for client in [socket.create_connection(server.sockets[0].getsockname()) for _ in range(40)]:
                reset(client)
            while len(accepted) < 40:  # the backlog holds 100
                await asyncio.sleep(0.001)
            accepted.clear()
    while len(os.listdir("/proc/self/fd")) > before:
        await asyncio.sleep(0.001)


def test_a_closed_loop_has_no_descriptors(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    gc.collect()  # or what the last test left is closed in the middle
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(20):
        loop = loop_factory()
        loop.call_later(10, print)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_two_hundred_loops_at_once(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loops = [loop_factory() for _ in range(200)]
    for loop in loops:
        loop.run_until_complete(asyncio.sleep(0))
    for loop in loops:
        loop.close()
    assert all(loop.is_closed() for loop in loops)


def test_peers_that_reset_at_every_moment(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    contexts = record_errors(loop)

    async def main() -> None:
        for step in range(40):
            async with connected(Recorder) as (transport, protocol, peer):
                if step & 1:
                    transport.write(b"x" * 100_000)
                if step & 2:
                    peer.send(b"data")
                if step & 4:
                    transport.pause_reading()
                if step & 8:
                    await asyncio.sleep(0)
                reset(peer)
                if step & 16:
                    await asyncio.sleep(0.001)
                transport.write(b"y")
                transport.resume_reading()
                await protocol.lost()
                assert protocol.calls.count("connection_lost") == 1

    run(main())
    assert contexts == []


@pytest.mark.parametrize(
    "ending",
    ["raise SystemExit(3)", "raise LookupError('uncaught')", "os._exit(3)", "sys.exit(3)"],
)
def test_a_program_that_ends_with_connections_open(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], ending: str
) -> None:
    """The process ends with the right status, without a crash in the interpreter's shutdown."""
    program = (
        f"import asyncio, os, socket, sys, {loop_factory.__module__} as module\n"
        "async def main():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    server = await loop.create_server(asyncio.Protocol, '127.0.0.1', 0)\n"
        "    await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())\n"
        "    loop.call_later(100, print)\n"
        f"    {ending}\n"
        f"loop = module.{loop_factory.__qualname__}()\n"
        "loop.run_until_complete(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    if "LookupError" in ending:
        assert done.returncode == 1
        assert "LookupError: uncaught" in done.stderr
    else:
        assert done.returncode == 3
