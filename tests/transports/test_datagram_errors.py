"""Datagram transports: what cannot be sent, what the network refuses, and callbacks that raise."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
from datagram_endpoints import LOCAL, DatagramRecorder, endpoint, name_of, plain_socket, receive
from recording import record_errors


async def test_oversized_datagram_is_an_error_of_its_own() -> None:
    """The others, before and after, go out."""
    with plain_socket() as peer:
        async with endpoint() as (transport, protocol):
            for data in (b"one", b"two", bytes(70000), b"three", bytes(70000), b"four"):
                transport.sendto(data, peer.getsockname())
            assert await receive(peer, 4) == [b"one", b"two", b"three", b"four"]
            await protocol.called("error_received", 2)
            assert [type(error) for error in protocol.errors] == [OSError, OSError]
            assert {error.errno for error in protocol.errors} == {errno.EMSGSIZE}  # type: ignore[attr-defined]
            assert not transport.is_closing()


async def test_error_of_a_first_datagram() -> None:
    with plain_socket() as peer:
        async with endpoint() as (transport, protocol):
            transport.sendto(bytes(70000), peer.getsockname())
            transport.sendto(b"next", peer.getsockname())
            await protocol.called("error_received")
            assert await receive(peer, 1) == [b"next"]


async def test_refusal_by_icmp_reaches_error_received() -> None:
    """udp(7): on a connected socket the answer "port unreachable" is the next call's error."""
    with plain_socket() as peer:
        address = peer.getsockname()
    async with endpoint(remote_addr=address) as (transport, protocol):
        transport.sendto(b"anybody?")
        await protocol.called("error_received")
        assert isinstance(protocol.errors[0], ConnectionRefusedError)
        assert not transport.is_closing()
        with plain_socket(address=address) as peer:
            # The next call may still be given an error of before.
            transport.sendto(b"and now?")
            transport.sendto(b"and now?")
            assert await receive(peer, 1) == [b"and now?"]
            peer.sendto(b"yes", name_of(transport))
            assert (await protocol.arrived(1)) == [b"yes"]


async def test_every_second_datagram_to_a_dead_port_is_refused() -> None:
    """The refusal of one fails the next, which is not sent: each of these errors is told."""
    with plain_socket() as peer:
        address = peer.getsockname()
    async with endpoint(remote_addr=address) as (transport, protocol):
        for _ in range(10):
            transport.sendto(b"anybody?")
        await protocol.called("error_received", 5)
        assert {type(error) for error in protocol.errors} == {ConnectionRefusedError}


async def test_an_address_of_the_wrong_form_ends_the_transport_before_the_next_datagram() -> None:
    """What was sent before it in the same callback leaves."""

    class Answering(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.endpoint.sendto(b"well-formed", addr)
            self.endpoint.sendto(b"lost", ("127.0.0.1",))
            self.endpoint.sendto(b"after the end", addr)

    record_errors(asyncio.get_running_loop())
    loop = asyncio.get_running_loop()
    with plain_socket() as peer:
        transport, protocol = await loop.create_datagram_endpoint(Answering, local_addr=LOCAL)
        for data in (b"one", b"two", b"three"):
            peer.sendto(data, name_of(transport))
        assert isinstance(await protocol.lost(), (TypeError, ValueError))  # the latter is PyPy's
        assert protocol.data == [b"one"]
        assert await receive(peer, 1) == [b"well-formed"]


async def test_exceptions_in_callbacks_are_reported_and_survived() -> None:
    class Failing(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"fail":
                raise ValueError("failed on a datagram")

        def error_received(self, exc: Exception) -> None:
            super().error_received(exc)
            raise ValueError("failed on an error")

    reported = record_errors(asyncio.get_running_loop())
    with plain_socket() as peer:
        async with endpoint(Failing) as (transport, protocol):
            for data in (b"one", b"fail", b"fail", b"two"):
                peer.sendto(data, name_of(transport))
            assert await protocol.arrived(4) == [b"one", b"fail", b"fail", b"two"]
            assert [str(context["exception"]) for context in reported] == ["failed on a datagram"] * 2
    with plain_socket() as peer:
        address = peer.getsockname()
    async with endpoint(Failing, remote_addr=address) as (transport, protocol):
        reported.clear()
        transport.sendto(b"anybody?")
        await protocol.called("error_received")
        assert [str(context["exception"]) for context in reported] == ["failed on an error"]
        assert not transport.is_closing()


async def test_failing_connection_made_is_reported() -> None:
    class Failing(DatagramRecorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise ValueError("failed at the start")

    reported = record_errors(asyncio.get_running_loop())
    async with endpoint(Failing):
        (context,) = reported
        assert str(context["exception"]) == "failed at the start"


def test_keyboard_interrupt_leaves_the_loop_and_loses_no_datagram(loop: asyncio.AbstractEventLoop) -> None:
    class Interrupted(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"stop":
                raise KeyboardInterrupt

    async def make() -> tuple[asyncio.DatagramTransport, Interrupted]:
        return await loop.create_datagram_endpoint(Interrupted, local_addr=LOCAL)

    transport, protocol = loop.run_until_complete(make())
    with plain_socket() as peer:
        for data in (b"one", b"stop", b"two", b"three"):
            peer.sendto(data, name_of(transport))
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(protocol.arrived(4))
        assert protocol.data == [b"one", b"stop"]
        assert loop.run_until_complete(protocol.arrived(4)) == [b"one", b"stop", b"two", b"three"]
    transport.close()
    loop.run_until_complete(protocol.lost())
    loop.run_until_complete(asyncio.sleep(0))
