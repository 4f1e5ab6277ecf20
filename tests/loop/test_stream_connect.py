"""create_connection and connect_accepted_socket: addresses, local ends, happy eyeballs, and errors."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import Any

import pytest
from recording import Recorder, Run


def closed_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on: it was ours a moment ago."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


async def test_connect(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    transport, protocol = await loop.create_connection(Recorder, *listener.getsockname())
    peer, address = listener.accept()
    with peer:
        assert protocol.calls == ["connection_made"]
        assert protocol.transport is transport
        assert transport.get_extra_info("sockname") == address
        assert transport.get_extra_info("peername") == listener.getsockname()
        assert isinstance(transport, asyncio.Transport)
        transport.close()
        assert await protocol.lost() is None


async def test_connect_by_name(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    transport, protocol = await loop.create_connection(Recorder, "localhost", listener.getsockname()[1])
    assert transport.get_extra_info("peername") == listener.getsockname()
    transport.close()
    await protocol.lost()


async def test_connect_over_ipv6(loop: asyncio.AbstractEventLoop) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        transport, protocol = await loop.create_connection(Recorder, "::1", listener.getsockname()[1])
        assert transport.get_extra_info("peername") == listener.getsockname()
        transport.close()
        await protocol.lost()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_family(loop: asyncio.AbstractEventLoop, family: int) -> None:
    async with await loop.create_server(Recorder, ["127.0.0.1", "::1"], 0) as server:
        port = next(sock.getsockname()[1] for sock in server.sockets if sock.family == family)
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        transport, protocol = await loop.create_connection(Recorder, host, port, family=family)
        assert transport.get_extra_info("socket").family == family
        transport.close()
        await protocol.lost()


async def test_family_that_does_not_fit(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(socket.gaierror):
        await loop.create_connection(Recorder, "127.0.0.1", 9, family=socket.AF_INET6)


async def test_a_connected_socket(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        assert ours.gettimeout() == 0
        theirs.send(b"data")
        assert await protocol.bytes_in(4) == b"data"
        transport.close()
        await protocol.lost()
        assert ours.fileno() == -1


async def test_local_addr(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    port = closed_port("127.0.0.9")
    transport, protocol = await loop.create_connection(
        Recorder, *listener.getsockname(), local_addr=("127.0.0.9", port)
    )
    peer, address = listener.accept()
    with peer:
        assert address == ("127.0.0.9", port)
        transport.close()
        await protocol.lost()


async def test_local_addr_by_name(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    transport, protocol = await loop.create_connection(Recorder, *listener.getsockname(), local_addr=("localhost", 0))
    assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
    transport.close()
    await protocol.lost()


async def test_local_addr_in_use(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    with pytest.raises(OSError, match="error while attempting to bind on address ") as raised:
        await loop.create_connection(Recorder, *listener.getsockname(), local_addr=listener.getsockname())
    assert raised.value.errno == errno.EADDRINUSE


@pytest.mark.edgeloop_only
async def test_what_binding_locally_fails_for_is_told_once(
    loop: asyncio.AbstractEventLoop, listener: socket.socket
) -> None:
    """asyncio puts an errno into the text of another one."""
    with pytest.raises(OSError, match=r": address already in use$") as raised:
        await loop.create_connection(Recorder, *listener.getsockname(), local_addr=listener.getsockname())
    assert str(raised.value).lower().count("errno") == 1


async def test_local_addr_of_another_family(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    with pytest.raises(OSError, match="no matching local address with family="):
        await loop.create_connection(Recorder, *listener.getsockname(), local_addr=("::1", 0))


async def test_refused(loop: asyncio.AbstractEventLoop) -> None:
    port = closed_port()
    with pytest.raises(ConnectionRefusedError) as raised:
        await loop.create_connection(Recorder, "127.0.0.1", port)
    assert raised.value.errno == errno.ECONNREFUSED
    assert f"('127.0.0.1', {port})" in str(raised.value)


def free_in_both_families() -> tuple[socket.socket, socket.socket, int]:
    """Two bound sockets, IPv6 and IPv4, with one port number."""
    while True:
        six = socket.socket(socket.AF_INET6)
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        six.bind(("::1", 0))
        four = socket.socket()
        try:
            four.bind(("127.0.0.1", six.getsockname()[1]))
        except OSError:
            six.close()
            four.close()
            continue
        return six, four, six.getsockname()[1]


# No host means every loopback address, in the order of getaddrinfo(3): an IPv6 one and an IPv4 one.
ANY: Any = None


@pytest.mark.parametrize("delay", [None, 0.01, 5])
async def test_the_second_address_answers(loop: asyncio.AbstractEventLoop, delay: float | None) -> None:
    six, four, port = free_in_both_families()
    with six, four:
        _, second = socket.getaddrinfo(None, port, type=socket.SOCK_STREAM)
        (four if second[0] == socket.AF_INET else six).listen()
        transport, protocol = await loop.create_connection(Recorder, ANY, port, happy_eyeballs_delay=delay)
        assert transport.get_extra_info("peername") == second[4]
        transport.close()
        await protocol.lost()


@pytest.mark.parametrize("arguments", [{}, {"happy_eyeballs_delay": 1}, {"interleave": 1}, {"interleave": 2}], ids=str)
async def test_the_first_address_is_preferred(loop: asyncio.AbstractEventLoop, arguments: Any) -> None:
    six, four, port = free_in_both_families()
    with six, four:
        four.listen()
        six.listen()
        first, _ = socket.getaddrinfo(None, port, type=socket.SOCK_STREAM)
        transport, protocol = await loop.create_connection(Recorder, ANY, port, **arguments)
        assert transport.get_extra_info("peername") == first[4]
        transport.close()
        await protocol.lost()


@pytest.mark.parametrize("delay", [None, 0.001])
async def test_no_address_answers(loop: asyncio.AbstractEventLoop, delay: float | None) -> None:
    six, four, port = free_in_both_families()
    with six, four, pytest.raises(OSError, match=r"^Multiple exceptions: \[Errno 111\] .*, \[Errno 111\] "):
        await loop.create_connection(Recorder, ANY, port, happy_eyeballs_delay=delay)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors is there since Python 3.12")
@pytest.mark.parametrize("delay", [None, 0.001])
def test_all_errors(loop: asyncio.AbstractEventLoop, run: Run, delay: float | None) -> None:
    create: Any = loop.create_connection
    six, four, port = free_in_both_families()
    with six, four:
        coroutine = create(Recorder, None, port, happy_eyeballs_delay=delay, all_errors=True)
        with pytest.raises(ExceptionGroup, match=r"^create_connection failed") as raised:
            run(coroutine)
    assert [type(exc) for exc in raised.value.exceptions] == [ConnectionRefusedError] * 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors is there since Python 3.12")
async def test_all_errors_of_one_address(loop: asyncio.AbstractEventLoop) -> None:
    create: Any = loop.create_connection
    with pytest.raises(ExceptionGroup) as raised:
        await create(Recorder, "127.0.0.1", closed_port(), all_errors=True)
    assert [type(exc) for exc in raised.value.exceptions] == [ConnectionRefusedError]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="all_errors is there since Python 3.12")
async def test_all_errors_is_unknown_before_3_12(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(TypeError, match="all_errors"):
        create: Any = loop.create_connection
        await create(Recorder, "127.0.0.1", 9, all_errors=True)


async def test_cancelled_while_connecting(loop: asyncio.AbstractEventLoop) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        transports = []
        for _ in range(10):
            task = asyncio.ensure_future(loop.create_connection(Recorder, *full.getsockname()))
            done, _ = await asyncio.wait([task], timeout=0.05)
            if not done:
                break
            transports.append(task.result()[0])
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)


async def test_a_factory_that_raises(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    def factory() -> Recorder:
        raise LookupError("no protocol today")

    ours, theirs = socket.socketpair()
    with theirs, ours, pytest.raises(LookupError, match="no protocol today"):
        await loop.create_connection(factory, sock=ours)


@pytest.mark.edgeloop_only
async def test_a_factory_that_raises_leaves_no_connection(
    loop: asyncio.AbstractEventLoop, listener: socket.socket
) -> None:
    """The standard loop leaves the socket it has just connected to the garbage collector."""

    def factory() -> Recorder:
        raise LookupError("no protocol today")

    with pytest.raises(LookupError, match="no protocol today") as kept:
        await loop.create_connection(factory, *listener.getsockname())
    peer, _ = listener.accept()
    with peer:
        peer.settimeout(30)
        assert peer.recv(1) == b""
    assert kept.value.args


async def test_connection_made_that_raises(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    class Fails(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise LookupError("not this connection")

    transport, protocol = await loop.create_connection(Fails, *listener.getsockname())
    assert [type(context["exception"]) for context in contexts] == [LookupError]
    transport.close()
    await protocol.lost()


async def test_arguments_that_exclude_each_other(loop: asyncio.AbstractEventLoop) -> None:
    create: Any = loop.create_connection
    with socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        with pytest.raises(ValueError, match=r"^host/port and sock can not be specified at the same time$"):
            await create(Recorder, "127.0.0.1", 80, sock=sock)
        with pytest.raises(ValueError, match=r"^host and port was not specified and no sock specified$"):
            await create(Recorder)
        with pytest.raises(ValueError, match=r"^A Stream Socket was expected, got <socket"):
            await create(Recorder, sock=datagram)
        with pytest.raises(ValueError, match=r"^server_hostname is only meaningful with ssl$"):
            await create(Recorder, "127.0.0.1", 80, server_hostname="localhost")
        with pytest.raises(ValueError, match=r"^You must set server_hostname when using ssl without a host$"):
            await create(Recorder, sock=sock, ssl=True)
        for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            with pytest.raises(ValueError, match=rf"^{name} is only meaningful with ssl$"):
                await create(Recorder, "127.0.0.1", 80, **{name: 1})


@pytest.mark.parametrize("port", [65536 + 80, -1])
async def test_a_port_out_of_range(loop: asyncio.AbstractEventLoop, port: int) -> None:
    """It must not wrap round to some other port."""
    with pytest.raises((OverflowError, OSError)):
        await loop.create_connection(Recorder, "127.0.0.1", port)


async def test_an_unknown_host(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(socket.gaierror):
        await loop.create_connection(Recorder, "no-such-host.invalid", 80)


async def test_accepted_socket(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()) as client:
        sock, address = listener.accept()
        transport, protocol = await loop.connect_accepted_socket(Recorder, sock)
        assert transport.get_extra_info("peername") == address
        client.send(b"data")
        assert await protocol.bytes_in(4) == b"data"
        transport.close()
        await protocol.lost()


async def test_accepted_socket_must_be_a_stream(loop: asyncio.AbstractEventLoop) -> None:
    accept: Any = loop.connect_accepted_socket
    with socket.socket(type=socket.SOCK_DGRAM) as datagram, socket.socket() as sock:
        with pytest.raises(ValueError, match=r"^A Stream Socket was expected, got <socket"):
            await accept(Recorder, datagram)
        for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            with pytest.raises(ValueError, match=rf"^{name} is only meaningful with ssl$"):
                await accept(Recorder, sock, **{name: 1})


@pytest.mark.skipif(sys.version_info < (3, 12), reason="checked since Python 3.12")
async def test_a_socket_in_use_by_a_transport(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        with pytest.raises(RuntimeError, match=r" is used by transport <"):
            await loop.create_connection(Recorder, sock=ours)
        transport.close()
        await protocol.lost()
