"""What is an address already is asked of nobody, and a port may be any kind of number: as asyncio."""

from __future__ import annotations

import asyncio
import enum
import socket
from collections.abc import Callable
from typing import Any

import pytest
from recording import Run

Address = tuple[str, Any]
Call = Callable[[asyncio.AbstractEventLoop, str, Any], Any]


class Index:
    """No int, but what has ``__index__`` and ``__int__``, as numpy's numbers have."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    __int__ = __index__


def closed(result: Any) -> None:
    transport = result[0] if isinstance(result, tuple) else result
    if transport is not None:
        transport.close()


async def connect(loop: asyncio.AbstractEventLoop, host: str, port: Any) -> None:
    closed(await loop.create_connection(asyncio.Protocol, host, port))


async def connect_from(loop: asyncio.AbstractEventLoop, host: str, port: Any) -> None:
    closed(await loop.create_connection(asyncio.Protocol, host, port, local_addr=("127.0.0.1", 0)))


async def connect_race(loop: asyncio.AbstractEventLoop, host: str, port: Any) -> None:
    closed(await loop.create_connection(asyncio.Protocol, host, port, happy_eyeballs_delay=0.25))


async def sock_connect(loop: asyncio.AbstractEventLoop, host: str, port: Any) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (host, port))


async def serve(loop: asyncio.AbstractEventLoop, host: str, port: Any) -> None:
    with socket.create_server((host, 0)) as free:
        number = free.getsockname()[1]
    same_kind: Any = Index(number) if isinstance(port, Index) else type(port)(number) if type(port) is int else number
    server = await loop.create_server(asyncio.Protocol, host, same_kind)
    server.close()


async def datagrams(loop: asyncio.AbstractEventLoop, host: str, port: Any) -> None:
    closed(await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, port)))


async def datagrams_from(loop: asyncio.AbstractEventLoop, host: str, port: Any) -> None:
    closed(await loop.create_datagram_endpoint(asyncio.DatagramProtocol, (host, 0), (host, port)))


every_call = pytest.mark.parametrize(
    "call", [connect, connect_from, connect_race, sock_connect, serve, datagrams, datagrams_from]
)


@every_call
async def test_a_literal_address_is_not_asked_of_a_replaced_getaddrinfo(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError(f"asked for {arguments}")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        await call(loop, *listener.getsockname())


def test_the_second_of_two_addresses_that_a_replaced_getaddrinfo_gives_is_reached(
    loop: asyncio.AbstractEventLoop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refused = gone.getsockname()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def both(host: Any, port: Any, *arguments: Any, **keywords: Any) -> Any:
            asked.append(host)
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, refused), (*kind, listener.getsockname())]

        monkeypatch.setattr(socket, "getaddrinfo", both)

        async def main() -> Any:
            transport, _ = await loop.create_connection(asyncio.Protocol, "name.invalid", 80)
            peer = transport.get_extra_info("peername")
            transport.close()
            return peer

        assert run(main()) == listener.getsockname()
    assert asked == ["name.invalid"]


async def test_getaddrinfo_itself_asks_the_replaced_one(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer: Any = ["answer"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **keywords: answer)
    assert await loop.getaddrinfo("127.0.0.1", 80) == answer


@every_call
@pytest.mark.parametrize("kind", ["enum", "index", "str", "bytes"])
async def test_a_port_may_be_any_kind_of_number(loop: asyncio.AbstractEventLoop, call: Call, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, number = listener.getsockname()
        port: Any = {
            "enum": enum.IntEnum("Port", {"API": number}).API,  # type: ignore[attr-defined]
            "index": Index(number),
            "str": str(number),
            "bytes": str(number).encode(),
        }[kind]
        await call(loop, host, port)


@pytest.mark.edgeloop_only  # asyncio hands it to socket.getaddrinfo, which takes no such number
async def test_a_name_with_a_port_that_is_an_int_by_inheritance(loop: asyncio.AbstractEventLoop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = enum.IntEnum("Port", {"API": listener.getsockname()[1]}).API  # type: ignore[attr-defined]
        await connect(loop, "localhost", port)


@pytest.mark.parametrize("port", [-1, 65536, 1 << 40, Index(65536)])
async def test_a_port_out_of_range(loop: asyncio.AbstractEventLoop, port: Any) -> None:
    with pytest.raises(OverflowError):
        await connect(loop, "127.0.0.1", port)


def test_numbers_that_are_no_plain_ints(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """Sizes, a backlog, a family: what has ``__index__`` is a number."""
    number: Any = Index

    async def main() -> tuple[bytes, bytes]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            loop.call_later(0.001, theirs.send, b"one")
            received = await loop.sock_recv(ours, number(100))
            theirs.send(b"two")
            datagram, _ = await loop.sock_recvfrom(ours, number(100))
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, backlog=number(5))
        server.close()
        with socket.create_server(
            ("127.0.0.1", 0)
        ) as listening:  # TCP, where the number of bytes says whether there are more
            with socket.create_connection(listening.getsockname()) as client, listening.accept()[0] as peer:
                client.setblocking(False)
                loop.call_later(0.001, peer.send, b"three")
                assert await loop.sock_recv(client, number(100)) == b"three"
        return received, datagram

    assert run(main()) == (b"one", b"two")
