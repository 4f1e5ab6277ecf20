"""create_datagram_endpoint: its arguments, what it makes of them, and what it refuses."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import socket
import stat
import sys
from asyncio.trsock import TransportSocket
from pathlib import Path
from typing import Any

import pytest
from datagram_endpoints import LOCAL, DatagramRecorder, endpoint, name_of, plain_socket

# Since 3.13 and releases of 3.11 and 3.12 in 2024.
TAKES_ANY_PACKETS = "A datagram socket was" in inspect.getsource(asyncio.BaseEventLoop.create_datagram_endpoint)
takes_any_packets = pytest.mark.skipif(not TAKES_ANY_PACKETS, reason="this asyncio takes SOCK_DGRAM alone")

needs_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="this Python was built without IPv6")


async def test_bound_endpoint() -> None:
    async with endpoint() as (transport, protocol):
        assert transport.get_protocol() is protocol
        host, port = name_of(transport)
        assert host == "127.0.0.1"
        assert port != 0
        assert transport.get_extra_info("peername") is None
        assert transport.get_extra_info("nothing", 7) == 7
        sock = transport.get_extra_info("socket")
        assert isinstance(sock, TransportSocket)
        assert sock.type == socket.SOCK_DGRAM
        assert sock.gettimeout() == 0
        assert protocol.calls == ["connection_made"]


@pytest.mark.edgeloop_only  # asyncio's own is a plain Transport before Python 3.12
async def test_transport_passes_for_a_datagram_transport() -> None:
    async with endpoint() as (transport, _):
        assert isinstance(transport, asyncio.DatagramTransport)
        assert isinstance(transport, asyncio.Transport)  # as asyncio's is, whatever one may think of it


async def test_connected_endpoint_knows_its_peer() -> None:
    with plain_socket() as peer:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, _):
            assert transport.get_extra_info("peername") == peer.getsockname()
            transport.sendto(b"to the peer")
            loop = asyncio.get_running_loop()
            data, address = await loop.sock_recvfrom(peer, 100)
            assert data == b"to the peer"
            assert address == name_of(transport)


async def test_bound_and_connected() -> None:
    with plain_socket() as peer:
        async with endpoint(local_addr=LOCAL, remote_addr=peer.getsockname()) as (transport, protocol):
            peer.sendto(b"hello", name_of(transport))
            await protocol.arrived(1)
            assert protocol.datagrams == [(b"hello", peer.getsockname())]


async def test_host_names_are_looked_up() -> None:
    with plain_socket() as peer:
        remote = ("localhost", peer.getsockname()[1])
        async with endpoint(remote_addr=remote, family=socket.AF_INET) as (transport, _):
            assert transport.get_extra_info("peername") == peer.getsockname()


async def test_family_alone_makes_an_unbound_endpoint() -> None:
    with plain_socket() as peer:
        async with endpoint(family=socket.AF_INET) as (transport, _):
            transport.sendto(b"from anywhere", peer.getsockname())
            data = await asyncio.get_running_loop().sock_recv(peer, 100)
            assert data == b"from anywhere"


@needs_ipv6
async def test_ipv6_addresses_have_flow_and_scope() -> None:
    async with endpoint(local_addr=("::1", 0)) as (transport, protocol):
        name = name_of(transport)
        assert name[0] == "::1"
        assert name[2:] == (0, 0)
        with plain_socket(socket.AF_INET6, ("::1", 0)) as peer:
            peer.sendto(b"six", name)
            await protocol.arrived(1)
            assert protocol.datagrams == [(b"six", peer.getsockname())]
            loop = asyncio.get_running_loop()
            for addr in (peer.getsockname(), peer.getsockname()[:2], (*peer.getsockname()[:2], 0, 0)):
                transport.sendto(b"back", addr)
                transport.sendto(b"again", addr)
                assert await loop.sock_recvfrom(peer, 100) == (b"back", name)
                assert await loop.sock_recvfrom(peer, 100) == (b"again", name)


@needs_ipv6
async def test_ipv6_scope_reaches_the_kernel_and_comes_back() -> None:
    """A scope that names no interface is refused: it was passed on, not dropped."""
    async with endpoint(local_addr=("::1", 0)) as (transport, protocol):
        transport.sendto(b"nowhere", ("fe80::1", 9, 0, 0x7FFFFFFF))
        await protocol.called("error_received")
        assert isinstance(protocol.errors[0], OSError)
        assert protocol.errors[0].errno in (errno.ENODEV, errno.EINVAL, errno.ENETUNREACH, errno.ENXIO)


async def test_unix_paths(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here"), str(tmp_path / "thére")
    async with (
        endpoint(local_addr=here, family=socket.AF_UNIX) as (one, first),
        endpoint(local_addr=there, remote_addr=here, family=socket.AF_UNIX) as (two, second),
    ):
        assert name_of(one) == here
        assert two.get_extra_info("peername") == here
        two.sendto(b"ping")
        await first.arrived(1)
        assert first.datagrams == [(b"ping", there)]
        one.sendto(b"pong", there)
        one.sendto(b"ping-pong", there)
        await second.arrived(2)
        assert second.datagrams == [(b"pong", here), (b"ping-pong", here)]


async def test_unix_path_as_long_as_they_come(tmp_path: Path) -> None:
    """sun_path has 108 bytes: a path of 107 fills it but for the NUL, which unix(7) does not demand back."""
    room = 107 - len(os.fsencode(tmp_path)) - 1
    if room < 1:
        pytest.skip(f"the folder's own path is too long: {tmp_path}")
    path = str(tmp_path / ("x" * room))
    async with endpoint(local_addr=path, family=socket.AF_UNIX) as (transport, protocol):
        transport.sendto(b"to myself", path)
        transport.sendto(b"again", path)
        await protocol.arrived(2)
        assert protocol.datagrams == [(b"to myself", path), (b"again", path)]


async def test_unix_abstract_names() -> None:
    here, there = f"\0edgeloop-here-{os.getpid()}", f"\0edgeloop-there\0{os.getpid()}"
    async with (
        endpoint(local_addr=here, family=socket.AF_UNIX) as (one, first),
        endpoint(local_addr=there, family=socket.AF_UNIX) as (two, second),
    ):
        assert name_of(one) == here.encode()
        two.sendto(b"by str", here)
        two.sendto(b"by bytes", here.encode())
        await first.arrived(2)
        assert first.datagrams == [(b"by str", there.encode()), (b"by bytes", there.encode())]
        one.sendto(b"back", first.datagrams[0][1])
        await second.arrived(1)
        assert second.datagrams == [(b"back", here.encode())]


async def test_unix_sender_without_a_name(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with endpoint(local_addr=path, family=socket.AF_UNIX) as (_, protocol):
        with plain_socket(socket.AF_UNIX, None) as peer:
            peer.sendto(b"guess who", path)
            await protocol.arrived(1)
            assert protocol.datagrams == [(b"guess who", None)]


async def test_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with plain_socket(socket.AF_UNIX, str(path)):
        pass
    assert stat.S_ISSOCK(path.stat().st_mode)
    async with endpoint(local_addr=str(path), family=socket.AF_UNIX) as (_, protocol):
        with plain_socket(socket.AF_UNIX, None) as peer:
            peer.sendto(b"here?", str(path))
            assert await protocol.arrived(1) == [b"here?"]


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match="in use") as caught:
        await asyncio.get_running_loop().create_datagram_endpoint(
            DatagramRecorder, local_addr=str(path), family=socket.AF_UNIX
        )
    assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "precious"


async def test_given_socket() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(LOCAL)
    with plain_socket() as peer:
        async with endpoint(sock=sock) as (transport, protocol):
            assert sock.gettimeout() == 0
            peer.sendto(b"in", name_of(transport))
            assert await protocol.arrived(1) == [b"in"]
        assert sock.fileno() == -1


async def test_given_connected_socket() -> None:
    with plain_socket() as peer:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(peer.getsockname())
        async with endpoint(sock=sock) as (transport, _):
            assert transport.get_extra_info("peername") == peer.getsockname()
            transport.sendto(b"out")
            assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"out"


@pytest.mark.edgeloop_only  # asyncio takes the empty name of a socketpair's other end for none, and fails to send
async def test_unix_socketpair() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.setblocking(False)
    with theirs:
        async with endpoint(sock=ours) as (transport, protocol):
            transport.sendto(b"there")
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(theirs, 100) == b"there"
            theirs.send(b"back")
            await protocol.arrived(1)
            assert protocol.datagrams == [(b"back", None)]


@takes_any_packets
async def test_other_packet_sockets() -> None:
    """SOCK_SEQPACKET keeps messages apart too."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        async with endpoint(sock=ours) as (_, protocol):
            theirs.send(b"one")
            theirs.send(b"two")
            assert await protocol.arrived(2) == [b"one", b"two"]


@pytest.mark.edgeloop_only  # asyncio delivers empty datagrams without end
@takes_any_packets
async def test_end_of_a_packet_connection_is_one_empty_datagram() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    async with endpoint(sock=ours) as (_, protocol):
        theirs.send(b"one")
        theirs.send(b"")
        theirs.send(b"two")
        theirs.close()
        assert await protocol.arrived(4) == [b"one", b"", b"two", b""]
        await asyncio.sleep(0.02)
        assert len(protocol.datagrams) == 4


async def test_netlink_socket_has_addresses_of_its_own_kind() -> None:
    """What the address parser does not know goes through the socket object: netlink(7)'s (pid, groups)."""
    if TAKES_ANY_PACKETS:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    else:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0)
    sock.bind((0, 0))
    async with endpoint(sock=sock) as (transport, protocol):
        # RTM_GETLINK for loopback, rtnetlink(7): length, type 18, flags NLM_F_REQUEST, sequence, pid; ifinfomsg.
        header = (32).to_bytes(4, sys.byteorder) + (18).to_bytes(2, sys.byteorder) + (1).to_bytes(2, sys.byteorder)
        body = bytes(2) + bytes(2) + (1).to_bytes(4, sys.byteorder) + bytes(8)
        transport.sendto(header + (7).to_bytes(4, sys.byteorder) + bytes(4) + body, (0, 0))
        await protocol.arrived(1)
        data, address = protocol.datagrams[0]
        assert address == (0, 0)
        assert int.from_bytes(data[8:12], sys.byteorder) == 7  # the answer to our sequence number


async def test_reuse_port_shares_the_port() -> None:
    async with endpoint(local_addr=LOCAL, reuse_port=True) as (one, _):
        address = name_of(one)
        async with endpoint(local_addr=address, reuse_port=True) as (two, _):
            assert name_of(two) == address
            assert two.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
        with pytest.raises(OSError, match="in use"):
            await asyncio.get_running_loop().create_datagram_endpoint(DatagramRecorder, local_addr=address)


async def test_broadcast_endpoint_takes_answers_from_anyone() -> None:
    with plain_socket() as asked, plain_socket() as other:
        remote = asked.getsockname()
        async with endpoint(local_addr=LOCAL, remote_addr=remote, allow_broadcast=True) as (transport, protocol):
            assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
            assert transport.get_extra_info("peername") is None
            transport.sendto(b"who is there?")
            transport.sendto(b"anyone?", remote)
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(asked, 100) == b"who is there?"
            assert await loop.sock_recv(asked, 100) == b"anyone?"
            other.sendto(b"me", name_of(transport))
            await protocol.arrived(1)
            assert protocol.datagrams == [(b"me", other.getsockname())]
            with pytest.raises(ValueError, match="Invalid address: must be None or"):
                transport.sendto(b"elsewhere", other.getsockname())


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, ValueError, "unexpected address family"),
        ({"local_addr": "127.0.0.1"}, TypeError, "2-tuple is expected"),
        ({"local_addr": ("127.0.0.1",)}, TypeError, "2-tuple is expected"),
        ({"remote_addr": ("127.0.0.1", 1, 2)}, TypeError, "2-tuple is expected"),
        ({"remote_addr": ["127.0.0.1", 1]}, TypeError, "2-tuple is expected"),
        ({"local_addr": ("127.0.0.1", 0), "family": socket.AF_UNIX}, TypeError, "string is expected"),
        ({"remote_addr": b"/tmp/socket", "family": socket.AF_UNIX}, TypeError, "string is expected"),
        ({"local_addr": ("127.0.0.1", 0), "remote_addr": ("::1", 1)}, ValueError, "can not get address information"),
        ({"local_addr": ("192.0.2.1", 0)}, OSError, "[Cc]annot assign requested address"),
        ({"local_addr": ("name", 0), "flags": socket.AI_NUMERICHOST}, socket.gaierror, "not known"),
    ],
)
async def test_refused_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        await asyncio.get_running_loop().create_datagram_endpoint(DatagramRecorder, **arguments)


async def test_refused_sockets() -> None:
    loop = asyncio.get_running_loop()
    expected = "A datagram socket was expected" if TAKES_ANY_PACKETS else "A UDP Socket was expected"
    with socket.socket() as stream, pytest.raises(ValueError, match=expected):
        await loop.create_datagram_endpoint(DatagramRecorder, sock=stream)
    with plain_socket() as sock:
        for modifier in (
            {"local_addr": LOCAL},
            {"remote_addr": LOCAL},
            {"family": 1},
            {"proto": 1},
            {"flags": 1},
            {"reuse_port": True},
            {"allow_broadcast": True},
        ):
            ((name, value),) = modifier.items()
            with pytest.raises(ValueError, match="socket modifier keyword arguments can not be used") as caught:
                await loop.create_datagram_endpoint(DatagramRecorder, sock=sock, **modifier)
            assert str(caught.value).endswith(f"when sock is specified. ({name}={value})")
        assert sock.fileno() != -1


@pytest.mark.edgeloop_only  # asyncio leaves the socket to the garbage collector
async def test_factory_that_raises_leaves_nothing_open() -> None:
    def factory() -> DatagramRecorder:
        raise RuntimeError("no protocol today")

    loop = asyncio.get_running_loop()
    with pytest.raises(RuntimeError, match="no protocol today"):
        await loop.create_datagram_endpoint(factory, local_addr=LOCAL)
    with plain_socket() as sock:
        with pytest.raises(RuntimeError, match="no protocol today"):
            await loop.create_datagram_endpoint(factory, sock=sock)
        assert sock.fileno() != -1, "a socket that was given stays the giver's"


@pytest.mark.edgeloop_only  # asyncio lets the second transport take the descriptor from the first
async def test_socket_of_another_transport_is_refused() -> None:
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    async with endpoint(sock=sock):
        with pytest.raises(RuntimeError, match="is used by transport"):
            await loop.create_datagram_endpoint(DatagramRecorder, sock=sock)


def test_closed_loop(loop: asyncio.AbstractEventLoop) -> None:
    coroutine = loop.create_datagram_endpoint(DatagramRecorder, local_addr=("localhost", 0))
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        coroutine.send(None)
    coroutine.close()
