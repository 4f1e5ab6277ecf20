"""Who closes a socket when a call fails: one that the caller gave is the caller's, one that the loop made is closed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from recording import Run


def failing_factory() -> Any:
    raise ZeroDivisionError


@pytest.fixture
def given() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def fails(run: Run, coroutine: Any, expected: Any = ZeroDivisionError) -> None:
    with pytest.raises(expected):
        run(coroutine)


@pytest.mark.parametrize("how", ["create_connection", "create_unix_connection", "connect_accepted_socket"])
def test_a_given_socket_is_the_callers_when_the_factory_raises(
    loop: asyncio.AbstractEventLoop, run: Run, given: socket.socket, how: str
) -> None:
    fails(run, getattr(loop, how)(failing_factory, sock=given))
    assert given.fileno() >= 0


@pytest.mark.parametrize("how", ["create_connection", "create_unix_connection", "connect_accepted_socket"])
def test_a_given_socket_is_the_callers_when_its_transport_fails_to_be_made(
    loop: asyncio.AbstractEventLoop, run: Run, given: socket.socket, how: str
) -> None:
    keywords: dict[str, Any] = {} if how == "connect_accepted_socket" else {"server_hostname": "name"}
    fails(run, getattr(loop, how)(asyncio.Protocol, sock=given, ssl="no context", **keywords), Exception)
    assert given.fileno() >= 0


class Unnameable:
    """isinstance() fails on it, which is looked at in the middle of a transport's making."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise ZeroDivisionError


@pytest.mark.edgeloop_only  # asyncio leaves it to the half-made transport, whose destructor closes it
def test_a_given_socket_is_the_callers_when_the_protocol_is_none(
    loop: asyncio.AbstractEventLoop, run: Run, given: socket.socket
) -> None:
    fails(run, loop.create_connection(Unnameable, sock=given))
    assert given.fileno() >= 0


def test_a_given_datagram_socket_is_the_callers(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fails(run, loop.create_datagram_endpoint(failing_factory, sock=sock))
        fails(run, loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock, proto=17), ValueError)
        assert sock.fileno() >= 0


@pytest.mark.parametrize(
    "keywords",
    [
        {"backlog": "many"},
        {"ssl": True},
        {"ssl_handshake_timeout": 1.0},
        {"ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "ssl_handshake_timeout": -1.0},
    ],
)
def test_a_given_listening_socket_is_the_callers(
    loop: asyncio.AbstractEventLoop, run: Run, listening: socket.socket, tmp_path: Path, keywords: dict[str, Any]
) -> None:
    if "ssl" not in keywords or keywords["ssl"] is True or "backlog" in keywords:
        fails(run, loop.create_server(asyncio.Protocol, sock=listening, **keywords), (TypeError, ValueError))
        assert listening.fileno() >= 0
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "sock"))
        if "ssl" not in keywords or keywords["ssl"] is True:
            fails(run, loop.create_unix_server(asyncio.Protocol, sock=bound, **keywords), (TypeError, ValueError))
        assert bound.fileno() >= 0


# The other way round: what the loop made is closed. The fixture no_descriptor_leak counts, once the garbage is collected;
# here they are counted before.


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def leaves_nothing_open(run: Run, make: Callable[[], Any], expected: Any) -> None:
    run(asyncio.sleep(0))
    before = len(descriptors())
    fails(run, make(), expected)
    run(asyncio.sleep(0.001))
    assert len(descriptors()) == before


@pytest.mark.edgeloop_only  # asyncio leaves it to the garbage collector
@pytest.mark.parametrize("keywords", [{}, {"ssl": "no context"}], ids=["factory", "context"])
def test_a_socket_the_loop_made_is_closed(
    loop: asyncio.AbstractEventLoop, run: Run, listening: socket.socket, keywords: dict[str, Any]
) -> None:
    factory = asyncio.Protocol if keywords else failing_factory
    address = listening.getsockname()
    leaves_nothing_open(run, lambda: loop.create_connection(factory, *address, **keywords), Exception)


@pytest.mark.edgeloop_only
def test_a_datagram_socket_the_loop_made_is_closed(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    leaves_nothing_open(
        run, lambda: loop.create_datagram_endpoint(failing_factory, ("127.0.0.1", 0)), ZeroDivisionError
    )


@pytest.mark.edgeloop_only
def test_a_server_that_fails_to_start_leaves_nothing_open(
    loop: asyncio.AbstractEventLoop, run: Run, tmp_path: Path
) -> None:
    async def warm() -> None:
        (await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)).close()  # the loop's spare descriptor

    run(warm())
    backlog: Any = "many"
    leaves_nothing_open(run, lambda: loop.create_server(asyncio.Protocol, "127.0.0.1", 0, backlog=backlog), TypeError)
    path = tmp_path / "sock"
    leaves_nothing_open(run, lambda: loop.create_unix_server(asyncio.Protocol, path, backlog=backlog), TypeError)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaves_nothing_open(
        run,
        lambda: loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context, ssl_handshake_timeout=-1.0),
        ValueError,
    )


@pytest.mark.edgeloop_only
@pytest.mark.parametrize("turns", range(6))
def test_a_call_that_is_cancelled_leaves_nothing_open(
    loop: asyncio.AbstractEventLoop, run: Run, listening: socket.socket, tmp_path: Path, turns: int
) -> None:
    listening.listen(100)
    path = str(tmp_path / "sock")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(path)
    unix.listen(100)

    async def main() -> None:
        (await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)).close()
        host, port = listening.getsockname()
        calls: list[Callable[[], Any]] = [
            lambda: loop.create_connection(asyncio.Protocol, host, port),
            lambda: loop.create_connection(asyncio.Protocol, host, port, happy_eyeballs_delay=0.25),
            lambda: loop.create_unix_connection(asyncio.Protocol, path),
            lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, port)),
            lambda: loop.create_server(asyncio.Protocol, host, 0),
        ]
        for call in calls:
            before = len(descriptors())
            task = asyncio.ensure_future(call())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                made = await task
            except asyncio.CancelledError:
                pass
            else:
                (made[0] if isinstance(made, tuple) else made).close()
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(descriptors()) == before

    with unix:
        run(main())


@pytest.mark.edgeloop_only  # asyncio's says for good that it serves
def test_a_server_can_be_started_again_after_it_failed(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    class Backlog:
        asked = 0

        def __index__(self) -> int:
            self.asked += 1
            if self.asked == 2:
                raise ZeroDivisionError  # at the second of two sockets
            return 5

    async def main() -> None:
        backlog: Any = Backlog()
        server = await loop.create_server(
            asyncio.Protocol, ["127.0.0.1", "127.0.0.2"], 0, backlog=backlog, start_serving=False
        )
        with pytest.raises(ZeroDivisionError):
            await server.start_serving()
        assert not server.is_serving()
        await server.start_serving()
        assert server.is_serving()
        for listening in server.sockets:
            transport, _ = await loop.create_connection(asyncio.Protocol, *listening.getsockname())
            transport.close()
        server.close()
        await asyncio.sleep(0.001)

    run(main())
