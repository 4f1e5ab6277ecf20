"""Datagram transports: flow control, with a peer that does not read, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from datagram_endpoints import LOCAL, DatagramRecorder, blocked_pair, endpoint, name_of, plain_socket, receive
from whole_collection import collect_all

from edgeloop import stdlib

HEADER = 8 if sys.version_info >= (3, 13) else 0


# Flow control


async def test_flow_control(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    if isinstance(loop, asyncio.SelectorEventLoop) and (3, 13) <= sys.version_info < (3, 13, 6):
        pytest.skip("asyncio of these versions counts headers in and never out again (gh-135444): it never resumes")

    reader, path = blocked_pair(tmp_path)
    with reader:
        async with endpoint(remote_addr=path, family=socket.AF_UNIX) as (transport, protocol):
            transport.set_write_buffer_limits(high=1000, low=100)  # type: ignore[attr-defined]
            assert transport.get_write_buffer_limits() == (100, 1000)  # type: ignore[attr-defined]
            sent: list[bytes] = []
            while "pause_writing" not in protocol.calls:
                sent.append(b"%05d" % len(sent))
                transport.sendto(sent[-1])
                await asyncio.sleep(0)
            assert transport.get_write_buffer_size() > 1000  # type: ignore[attr-defined]
            waiting = transport.get_write_buffer_size() // (5 + HEADER)  # type: ignore[attr-defined]
            assert waiting < len(sent), "some have left"
            assert await receive(reader, len(sent)) == sent
            await protocol.called("resume_writing")
            await asyncio.sleep(0.02)
            assert transport.get_write_buffer_size() == 0  # type: ignore[attr-defined]
            assert protocol.calls == ["connection_made", "pause_writing", "resume_writing"]


async def test_write_buffer_limits() -> None:
    async with endpoint() as (transport, _):
        limited: Any = transport
        assert limited.get_write_buffer_limits() == (16384, 65536)
        limited.set_write_buffer_limits(low=100)
        assert limited.get_write_buffer_limits() == (100, 400)
        limited.set_write_buffer_limits(high=400)
        assert limited.get_write_buffer_limits() == (100, 400)
        with pytest.raises(ValueError, match=r"high \(1\) must be >= low \(2\) must be >= 0"):
            limited.set_write_buffer_limits(high=1, low=2)


async def test_ten_thousand_in_one_turn_to_a_slow_reader(tmp_path: Path) -> None:
    reader, path = blocked_pair(tmp_path)
    with reader:
        async with endpoint(remote_addr=path, family=socket.AF_UNIX) as (transport, _):
            sent = [b"%d" % number for number in range(10000)]
            for data in sent:
                transport.sendto(data)
            assert await receive(reader, 10000) == sent


async def test_ten_thousand_to_an_unconnected_reader(tmp_path: Path) -> None:
    reader, path = blocked_pair(tmp_path)
    with reader:
        async with endpoint(family=socket.AF_UNIX, local_addr=str(tmp_path / "writer")) as (transport, _):
            sent = [b"%d" % number for number in range(10000)]
            for data in sent:
                transport.sendto(data, path)
            assert await receive(reader, 10000) == sent


async def test_a_queue_that_others_filled(tmp_path: Path) -> None:
    """No event tells that a peer we are not connected to has read what others sent: unix(7) wakes only its own."""
    reader, path = blocked_pair(tmp_path)
    with reader, plain_socket(socket.AF_UNIX, None) as other:
        full = 0
        try:
            while True:
                other.sendto(b"other", path)
                full += 1
        except BlockingIOError:
            pass
        async with endpoint(family=socket.AF_UNIX, local_addr=str(tmp_path / "writer")) as (transport, _):
            transport.sendto(b"mine", path)
            await asyncio.sleep(0.05)
            assert transport.get_write_buffer_size() == 4 + HEADER  # type: ignore[attr-defined]
            received = await receive(reader, full + 1)
            assert received == [b"other"] * full + [b"mine"]


# The end


async def test_close() -> None:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
    sock = transport.get_extra_info("socket")
    address = name_of(transport)
    assert not transport.is_closing()
    transport.close()
    assert transport.is_closing()
    assert protocol.calls == ["connection_made"], "connection_lost is never called from within close"
    transport.close()
    assert await protocol.lost() is None
    await asyncio.sleep(0)
    assert protocol.calls == ["connection_made", "connection_lost"]
    assert sock.fileno() == -1
    assert name_of(transport) == address
    assert "closed" in repr(transport)


async def test_close_sends_what_waits(tmp_path: Path) -> None:
    reader, path = blocked_pair(tmp_path)
    with reader:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            DatagramRecorder, remote_addr=path, family=socket.AF_UNIX
        )
        sent = [b"%d" % number for number in range(500)]
        for data in sent:
            transport.sendto(data)
        transport.close()
        await asyncio.sleep(0.02)
        assert "connection_lost" not in protocol.calls
        assert await receive(reader, 500) == sent
        assert await protocol.lost() is None
        await asyncio.sleep(0)


async def test_abort_drops_what_waits(tmp_path: Path) -> None:
    reader, path = blocked_pair(tmp_path)
    with reader:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            DatagramRecorder, remote_addr=path, family=socket.AF_UNIX
        )
        for number in range(500):
            transport.sendto(b"%d" % number)
        transport.abort()
        assert await protocol.lost() is None
        await asyncio.sleep(0)
        received = 0
        with pytest.raises(BlockingIOError):
            while True:
                assert reader.recv(100) == b"%d" % received
                received += 1
        assert received < 500


async def test_abort_after_a_burst_that_fits() -> None:
    with plain_socket() as peer:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL)
        for number in range(5):
            transport.sendto(b"%d" % number, peer.getsockname())
        transport.abort()
        assert await receive(peer, 5) == [b"0", b"1", b"2", b"3", b"4"]
        assert await protocol.lost() is None
        await asyncio.sleep(0)


async def test_close_within_datagram_received_ends_it() -> None:
    class Once(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.endpoint.close()

    with plain_socket() as peer:
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Once, local_addr=LOCAL)
        for data in (b"one", b"two", b"three"):
            peer.sendto(data, name_of(transport))
        assert await protocol.lost() is None
        await asyncio.sleep(0)
        assert protocol.calls == ["connection_made", "datagram_received", "connection_lost"]


async def test_close_within_connection_made() -> None:
    class Brief(DatagramRecorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            transport.close()

    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Brief, local_addr=LOCAL)
    assert await protocol.lost() is None
    await asyncio.sleep(0)
    assert protocol.calls == ["connection_made", "connection_lost"]


async def test_sending_after_close_is_dropped_with_a_warning_after_some(caplog: pytest.LogCaptureFixture) -> None:
    """Writing after close raises RuntimeError in uvloop (#506, #685, #552)."""
    with plain_socket() as peer:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, remote_addr=peer.getsockname())
        transport.close()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(4):
                transport.sendto(b"too late")
            assert not caplog.records
            await protocol.lost()
            await asyncio.sleep(0)
            for _ in range(4):
                transport.sendto(b"much too late")
        assert {record.getMessage() for record in caplog.records} == {"socket.send() raised exception."}
        with pytest.raises(BlockingIOError):
            peer.recv(100)


@pytest.mark.edgeloop_only  # asyncio reports an AttributeError for each: it has given its socket up
async def test_unconnected_sending_after_close(caplog: pytest.LogCaptureFixture) -> None:
    with plain_socket() as peer:
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            DatagramRecorder, local_addr=LOCAL
        )
        transport.close()
        await protocol.lost()
        await asyncio.sleep(0)
        for _ in range(3):
            transport.sendto(b"too late", peer.getsockname())
        assert not caplog.records
        with pytest.raises(BlockingIOError):
            peer.recv(100)


def test_unclosed_transport_warns(loop: asyncio.AbstractEventLoop) -> None:
    transport, protocol = loop.run_until_complete(loop.create_datagram_endpoint(DatagramRecorder, local_addr=LOCAL))
    loop.close()
    protocol.endpoint = None  # type: ignore[assignment]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport
        collect_all()
    assert [str(warning.message)[:20] for warning in caught if warning.category is ResourceWarning][:1] == [
        "unclosed transport <"
    ]


async def test_repr_tells_the_state() -> None:
    async with endpoint() as (transport, _):
        assert f"fd={transport.get_extra_info('socket').fileno()}" in repr(transport)
        assert "read=polling" in repr(transport)
        assert "write=<idle, bufsize=0>" in repr(transport)


@pytest.mark.skipif(not stdlib.TAKES_ANY_PACKETS, reason="this asyncio takes SOCK_DGRAM alone")
@pytest.mark.edgeloop_only  # asyncio reads the end again and again
async def test_the_end_of_a_sequence_comes_once_after_all_that_was_sent() -> None:
    """More than one batch of them: the end is in the last."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    count = 0
    theirs.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while count < 250:
            theirs.send(b"%d" % count)
            count += 1
    theirs.close()
    ours.setblocking(False)
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(DatagramRecorder, sock=ours)
    await protocol.until(lambda: bool(protocol.datagrams) and protocol.datagrams[-1][0] == b"")
    for _ in range(5):
        await asyncio.sleep(0)
    assert [data for data, _ in protocol.datagrams] == [b"%d" % number for number in range(count)] + [b""]
    transport.close()
