"""The end of a TLS connection: orderly, abrupt, cut off, and with a peer that doesn't play along."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import ssl
import weakref

import pytest
from recording import Recorder, Run, record_errors, reset
from tls_peer import secured

sides = pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


@sides
@versions
async def test_close_sends_what_was_written_and_close_notify(server_side: bool, version: str) -> None:
    data = os.urandom(3_000_000)

    async with secured(Recorder, server_side=server_side, version=version, send_buffer=8192) as (
        transport,
        protocol,
        peer,
    ):
        transport.write(data)
        transport.close()
        assert transport.is_closing()
        assert await peer.receive_all() == data
        await peer.send_close_notify()
        peer.sock.close()
        assert await protocol.lost() is None
        assert protocol.calls.count("connection_lost") == 1
        assert "data_received" not in protocol.calls


@sides
async def test_the_peer_closes(server_side: bool) -> None:
    async with secured(Recorder, server_side=server_side) as (_, protocol, peer):
        await peer.send(b"last words")
        await peer.send_close_notify()
        assert await peer.receive_all() == b""  # the answer
        assert await protocol.lost() is None
        assert protocol.received == b"last words"
        assert [call for call in protocol.calls if call != "data_received"] == [
            "connection_made",
            "eof_received",
            "connection_lost",
        ]


@sides
@versions
async def test_a_stream_that_is_cut_off(server_side: bool, version: str) -> None:
    """asyncio takes FIN without close_notify as the end of the data."""
    async with secured(Recorder, server_side=server_side, version=version) as (_, protocol, peer):
        await peer.send(b"last words")
        peer.end()
        assert await protocol.lost() is None
        assert protocol.received == b"last words"
        assert protocol.calls[-2:] == ["eof_received", "connection_lost"]


async def test_what_was_written_reaches_a_peer_that_has_ended() -> None:
    data = os.urandom(2_000_000)

    async with secured(Recorder, send_buffer=8192) as (transport, protocol, peer):
        transport.write(data)
        peer.end()
        assert await peer.receive(len(data)) == data
        assert await protocol.lost() is None


async def test_an_answer_written_in_eof_received() -> None:
    class Answering(Recorder):
        def eof_received(self) -> None:
            super().eof_received()
            self.transport.write(b"you said " + self.received)

    async with secured(Answering) as (_, protocol, peer):
        await peer.send(b"hello")
        await peer.send_close_notify()
        assert await peer.receive_all() == b"you said hello"
        assert await protocol.lost() is None


async def test_a_peer_that_resets() -> None:
    async with secured(Recorder) as (_, protocol, peer):
        reset(peer.sock)
        assert isinstance(await protocol.lost(), ConnectionResetError)
        assert protocol.calls == ["connection_made", "connection_lost"]


def test_eof_received_cannot_keep_it_open(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    class Keeping(Recorder):
        keep_open = True

    async def main() -> None:
        async with secured(Keeping) as (_, protocol, peer):
            await peer.send_close_notify()
            assert await protocol.lost() is None

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "returning true from eof_received() has no effect when using ssl"
    ]


async def test_eof_received_that_raises() -> None:
    class Raising(Recorder):
        def eof_received(self) -> None:
            raise ZeroDivisionError

    errors = record_errors(asyncio.get_running_loop())
    async with secured(Raising) as (_, protocol, peer):
        await peer.send_close_notify()
        assert isinstance(await protocol.lost(), ZeroDivisionError)
    assert [error["message"] for error in errors] == ["Error calling eof_received()"]


async def test_data_received_that_raises() -> None:
    class Raising(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    errors = record_errors(asyncio.get_running_loop())
    async with secured(Raising) as (_, protocol, peer):
        await peer.send(b"x")
        assert isinstance(await protocol.lost(), ZeroDivisionError)
    assert [error["message"] for error in errors] == ["Fatal error on SSL protocol"]


async def test_a_record_that_was_tampered_with() -> None:
    errors = record_errors(asyncio.get_running_loop())
    async with secured(Recorder) as (_, protocol, peer):
        peer.ssl.write(b"x" * 100)
        record = bytearray(peer.outgoing.read())
        record[-1] ^= 1
        await asyncio.get_running_loop().sock_sendall(peer.sock, record)
        assert isinstance(await protocol.lost(), ssl.SSLError)
        assert protocol.received == b""
    assert errors == []


@pytest.mark.edgeloop_only
async def test_good_records_before_a_bad_one_are_delivered() -> None:
    async with secured(Recorder) as (_, protocol, peer):
        peer.ssl.write(b"good")
        good = peer.outgoing.read()
        await asyncio.get_running_loop().sock_sendall(peer.sock, good + b"\x17\x03\x03\x00\x20" + bytes(32))
        assert isinstance(await protocol.lost(), ssl.SSLError)
        assert protocol.received == b"good"


async def test_abort() -> None:
    async with secured(Recorder) as (transport, protocol, peer):
        transport.abort()
        assert transport.is_closing()
        assert await protocol.lost() is None
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            await peer.receive_all()
        transport.abort()
        transport.close()
        await asyncio.sleep(0)
        assert protocol.calls == ["connection_made", "connection_lost"]


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_writing_after_the_end(caplog: pytest.LogCaptureFixture, end: str) -> None:
    """demand.md: writing after close raises "handler is closed" elsewhere; here it is dropped, and mentioned later."""
    with caplog.at_level(logging.WARNING, "asyncio"):
        async with secured(Recorder) as (transport, protocol, peer):
            getattr(transport, end)()
            for _ in range(5):
                transport.write(b"x")
            assert not caplog.records
            transport.writelines([b"x"])
            assert [record.getMessage() for record in caplog.records] == ["SSL connection is closed"]
            await peer.send_close_notify()
            await protocol.lost()
            transport.write(b"x")
            assert protocol.calls.count("connection_lost") == 1


@pytest.mark.edgeloop_only
async def test_close_stops_reading_at_once() -> None:
    """demand.md: TLS close() downloads on for 30 s. The peer sends on and on, and still the end comes soon."""
    async with secured(Recorder) as (transport, protocol, peer):

        async def flood() -> int:
            sent = 0
            try:
                while True:
                    await peer.send(bytes(65536))
                    sent += 65536
            except OSError:
                return sent

        flooding = asyncio.ensure_future(flood())
        await protocol.called("data_received", 3)
        transport.close()
        received = len(protocol.received)
        assert await protocol.lost() is None
        assert len(protocol.received) == received
        # What has left the peer after that fits into the windows of the two sockets and what we throw away.
        assert await flooding - received < 32 << 20


@pytest.mark.edgeloop_only
async def test_what_the_peer_had_under_way_does_not_harm_the_answer() -> None:
    """An answer, then close, while the peer's request is still coming: the answer must not fall to a reset."""
    async with secured(Recorder) as (transport, protocol, peer):
        await peer.send(b"a")
        await protocol.bytes_in(1)
        transport.write(b"the answer")
        transport.close()
        await peer.send(bytes(100_000))
        assert await peer.receive_all() == b"the answer"
        await peer.send_close_notify()
        assert await protocol.lost() is None
        assert protocol.received == b"a"


async def test_a_peer_that_does_not_answer_close_notify() -> None:
    async with secured(Recorder, ssl_shutdown_timeout=0.05) as (transport, protocol, peer):
        transport.close()
        assert await peer.receive_all() == b""
        error = await protocol.lost()
        assert isinstance(error, TimeoutError)
        assert str(error) == "SSL shutdown timed out"


@pytest.mark.edgeloop_only
async def test_a_peer_that_does_not_read() -> None:
    """Bounded too when the lower transport can't get rid of what was written; asyncio has that from 3.14 on."""
    async with secured(Recorder, send_buffer=8192, ssl_shutdown_timeout=0.05) as (transport, protocol, peer):
        transport.write(bytes(3_000_000))
        transport.close()
        assert isinstance(await protocol.lost(), TimeoutError)

    async with secured(Recorder, send_buffer=8192, ssl_shutdown_timeout=0.05) as (transport, protocol, peer):
        transport.write(bytes(3_000_000))
        await peer.send_close_notify()
        assert isinstance(await protocol.lost(), TimeoutError)


@pytest.mark.edgeloop_only
async def test_a_slow_reader_gets_everything() -> None:
    """The time limit is for the peer's close_notify: it doesn't run while the peer takes what was written before."""
    data = os.urandom(400_000)

    async with secured(Recorder, send_buffer=8192, ssl_shutdown_timeout=0.2) as (transport, protocol, peer):
        transport.write(data)
        transport.close()
        received = b""
        while len(received) < len(data):
            await asyncio.sleep(0.02)
            received += await peer.receive(10_000)
        assert received == data
        await peer.send_close_notify()
        assert await protocol.lost() is None


async def test_close_in_data_received() -> None:
    class Closing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"bye")
            self.transport.close()

    async with secured(Closing) as (_, protocol, peer):
        await peer.send(b"x")
        assert await peer.receive_all() == b"bye"
        await peer.send_close_notify()
        assert await protocol.lost() is None
        assert protocol.calls.count("data_received") == 1


@pytest.mark.counts_references
def test_a_closed_connection_is_freed(run: Run) -> None:
    async def main() -> weakref.ref[ssl.SSLContext]:
        async with secured(Recorder) as (transport, protocol, peer):
            context = weakref.ref(transport.get_extra_info("sslcontext"))
            transport.close()
            await peer.send_close_notify()
            await protocol.lost()
        return context

    context = run(main())
    gc.collect()
    assert context() is None
