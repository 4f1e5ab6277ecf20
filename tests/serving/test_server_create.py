"""create_server: addresses, ports, socket options, and its errors."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import struct
import sys
from typing import Any

import pytest
from recording import Echo, Recorder, Run


def ports(server: asyncio.Server) -> list[int]:
    return [sock.getsockname()[1] for sock in server.sockets]


async def reaches(address: tuple[str, int]) -> bytes:
    """What a client gets from one exchange with the echo server at an address."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"hello")
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_one_address(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
        assert isinstance(server, asyncio.AbstractServer)
        (sock,) = server.sockets
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        assert port != 0
        assert await reaches((host, port)) == b"hello"


async def test_ipv6_only(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Echo, "::1", 0) as server:
        (sock,) = server.sockets
        assert sock.family == socket.AF_INET6
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert await reaches(sock.getsockname()[:2]) == b"hello"


@pytest.mark.parametrize("host", [None, ""])
async def test_every_interface(loop: asyncio.AbstractEventLoop, host: str | None) -> None:
    async with await loop.create_server(Echo, host, 0) as server:
        families = {sock.family: sock.getsockname() for sock in server.sockets}
        assert families[socket.AF_INET][0] == "0.0.0.0"
        assert families[socket.AF_INET6][0] == "::"
        assert await reaches(("127.0.0.1", families[socket.AF_INET][1])) == b"hello"
        assert await reaches(("::1", families[socket.AF_INET6][1])) == b"hello"


async def test_several_hosts(loop: asyncio.AbstractEventLoop) -> None:
    hosts = ["127.0.0.1", "127.0.0.2", "::1"]
    async with await loop.create_server(Echo, hosts, 0) as server:
        assert sorted(sock.getsockname()[0] for sock in server.sockets) == ["127.0.0.1", "127.0.0.2", "::1"]
        for sock in server.sockets:
            assert await reaches(sock.getsockname()[:2]) == b"hello"


async def test_a_host_named_twice_is_bound_once(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Echo, ("127.0.0.1", "127.0.0.1"), 0) as server:
        assert len(server.sockets) == 1


async def test_a_name_and_a_family(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Echo, "localhost", 0, family=socket.AF_INET) as server:
        assert [sock.family for sock in server.sockets] == [socket.AF_INET]


async def test_a_port_as_text(loop: asyncio.AbstractEventLoop) -> None:
    port: Any = "0"
    async with await loop.create_server(Echo, "127.0.0.1", port) as server:
        assert ports(server) != [0]


async def test_a_given_socket(loop: asyncio.AbstractEventLoop) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    async with await loop.create_server(Echo, sock=sock) as server:
        assert sock.gettimeout() == 0
        assert server.sockets[0].fileno() == sock.fileno()
        assert await reaches(sock.getsockname()) == b"hello"
    assert sock.fileno() == -1


async def test_reuse_address_is_the_default(loop: asyncio.AbstractEventLoop) -> None:
    for given, expected in ((None, 1), (True, 1), (False, 0)):
        async with await loop.create_server(Echo, "127.0.0.1", 0, reuse_address=given) as server:
            assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == expected


async def test_reuse_port(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Echo, "127.0.0.1", 0, reuse_port=True) as first:
        assert first.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
        (port,) = ports(first)
        async with await loop.create_server(Echo, "127.0.0.1", port, reuse_port=True) as second:
            assert ports(second) == [port]
            assert await reaches(("127.0.0.1", port)) == b"hello"
    async with await loop.create_server(Echo, "127.0.0.1", 0) as plain:
        assert plain.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_keep_alive(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    create: Any = loop.create_server

    async def main() -> None:
        for given, expected in ((None, 0), (True, 1), (False, 0)):
            async with await create(Echo, "127.0.0.1", 0, keep_alive=given) as server:
                assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == expected

    if sys.version_info >= (3, 13):
        run(main())
    else:
        with pytest.raises(TypeError, match="keep_alive"):
            run(main())


async def test_backlog(loop: asyncio.AbstractEventLoop) -> None:
    """For a listening socket TCP_INFO gives the backlog's limit as tcpi_sacked (linux/tcp.h, byte 28)."""
    for given, expected in ((None, 100), (1, 1), (17, 17)):
        arguments: dict[str, Any] = {} if given is None else {"backlog": given}
        async with await loop.create_server(Echo, "127.0.0.1", 0, **arguments) as server:
            info = server.sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            assert struct.unpack_from("I", info, 28)[0] == expected


async def test_start_serving_false(loop: asyncio.AbstractEventLoop) -> None:
    server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
    async with server:
        assert not server.is_serving()
        (port,) = ports(server)
        with pytest.raises(ConnectionRefusedError):
            await reaches(("127.0.0.1", port))
        await server.start_serving()
        assert server.is_serving()
        await server.start_serving()
        assert await reaches(("127.0.0.1", port)) == b"hello"


async def test_accepted_connections(loop: asyncio.AbstractEventLoop) -> None:
    """Each has its own protocol, Nagle's algorithm off, and both addresses."""
    protocols: list[Recorder] = []

    def factory() -> Recorder:
        protocols.append(Recorder())
        return protocols[-1]

    async with await loop.create_server(factory, "127.0.0.1", 0) as server:
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(3)]
        while len(protocols) < 3:
            await asyncio.sleep(0.001)
        await asyncio.gather(*(protocol.called("connection_made") for protocol in protocols))
        for client, protocol in zip(clients, protocols, strict=True):
            transport = protocol.transport
            assert transport.get_extra_info("peername") == client.getsockname()
            assert transport.get_extra_info("sockname") == client.getpeername()
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.gettimeout() == 0
            client.close()
            assert await protocol.lost() is None


async def test_a_port_in_use(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        with pytest.raises(OSError, match="address already in use") as raised:
            await loop.create_server(Echo, *address)
        assert raised.value.errno == errno.EADDRINUSE
        assert f"error while attempting to bind on address {address!r}: " in str(raised.value)


@pytest.mark.edgeloop_only
async def test_what_binding_fails_for_is_told_once(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio puts an errno into the text of another one; and has no errno where no address is this machine's."""
    async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
        with pytest.raises(OSError) as raised:
            await loop.create_server(Echo, *server.sockets[0].getsockname())
        assert str(raised.value).lower().count("errno") == 1
    with pytest.raises(OSError, match=r"198\.51\.100\.7.*: cannot assign requested address$") as raised:
        await loop.create_server(Echo, "198.51.100.7", 0)
    assert raised.value.errno == errno.EADDRNOTAVAIL


async def test_one_of_several_addresses_fails(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
        (port,) = ports(server)
        with pytest.raises(OSError, match="error while attempting to bind"):
            await loop.create_server(Echo, ["127.0.0.2", "127.0.0.1"], port)


async def test_an_address_of_another_machine(loop: asyncio.AbstractEventLoop) -> None:
    """Passed over since Python 3.13 where other addresses are left (bpo-30945)."""
    with pytest.raises(OSError, match=r"could not bind on any address|error while attempting to bind on address"):
        await loop.create_server(Echo, "198.51.100.7", 0)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="every address must be bound before Python 3.13")
async def test_an_address_of_another_machine_among_ours(loop: asyncio.AbstractEventLoop) -> None:
    async with await loop.create_server(Echo, ["198.51.100.7", "127.0.0.1"], 0) as server:
        assert [sock.getsockname()[0] for sock in server.sockets] == ["127.0.0.1"]


async def test_an_unknown_host(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(socket.gaierror):
        await loop.create_server(Echo, "no-such-host.invalid", 0)


async def test_arguments_that_exclude_each_other(loop: asyncio.AbstractEventLoop) -> None:
    create: Any = loop.create_server
    with socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        with pytest.raises(ValueError, match=r"^host/port and sock can not be specified at the same time$"):
            await create(Echo, "127.0.0.1", 0, sock=sock)
        with pytest.raises(ValueError, match=r"^Neither host/port nor sock were specified$"):
            await create(Echo)
        with pytest.raises(ValueError, match=r"^A Stream Socket was expected, got <socket"):
            await create(Echo, sock=datagram)
        with pytest.raises(TypeError, match=r"^ssl argument must be an SSLContext or None$"):
            await create(Echo, "127.0.0.1", 0, ssl=True)
        for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            with pytest.raises(ValueError, match=rf"^{name} is only meaningful with ssl$"):
                await create(Echo, "127.0.0.1", 0, **{name: 1})


@pytest.mark.parametrize("port", [65536, -1])
async def test_a_port_out_of_range(loop: asyncio.AbstractEventLoop, port: int) -> None:
    with pytest.raises((OverflowError, OSError)):
        await loop.create_server(Echo, "127.0.0.1", port)


class Moody:
    """A protocol factory that raises until told otherwise."""

    fail = True

    def __call__(self) -> Echo:
        if self.fail:
            raise LookupError("no protocol today")
        return Echo()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # the standard loop drops it on the floor
def test_a_factory_that_raises(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """The server goes on, and debug mode at least reports it."""
    messages: list[tuple[str, type]] = []
    loop.set_exception_handler(
        lambda loop, context: messages.append((context["message"], type(context.get("exception"))))
    )
    factory = Moody()

    async def main() -> None:
        async with await loop.create_server(factory, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            for debug in (False, True):
                loop.set_debug(debug)
                with socket.create_connection(address):
                    await asyncio.sleep(0.01)
            factory.fail = False
            assert await reaches(address) == b"hello"

    run(main())
    gc.collect()
    assert set(messages) == {("Error on transport creation for incoming connection", LookupError)}


@pytest.mark.edgeloop_only
async def test_the_client_of_a_factory_that_raises_is_let_go(loop: asyncio.AbstractEventLoop) -> None:
    """The standard loop leaves the connection to the garbage collector, and the client waiting."""
    async with await loop.create_server(Moody(), "127.0.0.1", 0) as server:
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, server.sockets[0].getsockname())
            assert await loop.sock_recv(client, 1) == b""


def test_connection_made_that_raises(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """asyncio reports it and keeps the connection: the transport exists, only the callback failed."""
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    class Fails(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise LookupError("not this connection")

    async def main() -> None:
        protocol = Fails()
        async with await loop.create_server(lambda: protocol, "127.0.0.1", 0) as server:
            with socket.create_connection(server.sockets[0].getsockname()) as client:
                client.send(b"data")
                assert await protocol.bytes_in(4) == b"data"
            await protocol.lost()

    run(main())
    assert [type(context["exception"]) for context in contexts] == [LookupError]


async def test_streams_over_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for line in (b"one\n", b"two\n", b"x" * 60_000 + b"\n"):
            writer.write(line)
            await writer.drain()
            assert await reader.readline() == line.upper()
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.edgeloop_only
@pytest.mark.parametrize("wrong", ["cert.pem", ("cert.pem", "key.pem"), 1, ""])
async def test_what_is_no_tls_context_is_refused_at_once(loop: asyncio.AbstractEventLoop, wrong: Any) -> None:
    """asyncio fails for each connection."""
    create: Any = loop.create_server
    with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None, got ") as raised:
        await create(Echo, "127.0.0.1", 0, ssl=wrong)
    assert repr(wrong) in str(raised.value)
