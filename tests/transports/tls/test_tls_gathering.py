"""When what is written over TLS leaves (rule 5): before ``write()`` returns, or at the end of a callback that ends at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from recording import Recorder, Run
from sockets import tcp_pair
from tls_answers import QUICK, Answering, exchange, has_something
from tls_certificates import client_context, server_context
from tls_peer import Peer, records, secured

from edgeloop.transports.tls.start import start_tls

pytestmark = [
    pytest.mark.edgeloop_only,  # asyncio gathers nothing
    pytest.mark.fair_weather,  # what the kernel does not take at once leaves later
]


def present(transport: asyncio.Transport | None) -> asyncio.Transport:
    assert transport is not None
    return transport


class OverAnother:
    """Our TLS over a transport of asyncio's own loop, which gathers nothing: what is late is late here."""

    def __init__(self) -> None:
        self.protocol = Answering()

    async def __aenter__(self) -> tuple[Answering, Peer]:
        loop = asyncio.get_running_loop()
        ours, theirs = tcp_pair()
        self.peer = Peer(theirs, server_context(), server_side=True)
        transport, _ = await loop.create_connection(lambda: self.protocol, sock=ours)
        upgraded, _ = await asyncio.gather(
            start_tls(loop, transport, self.protocol, client_context(), server_hostname="localhost"),
            self.peer.handshake(),
        )
        assert isinstance(upgraded, asyncio.Transport)
        self.protocol.transport = upgraded
        return self.protocol, self.peer

    async def __aexit__(self, *exc: object) -> None:
        self.protocol.transport.abort()
        await self.protocol.lost()
        self.peer.sock.close()


def run_over_another(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(asyncio.wait_for(coroutine, 60))


def test_the_first_piece_is_there_before_the_next_is_written() -> None:
    async def main() -> None:
        async with OverAnother() as (protocol, peer):
            seen: list[bool] = []
            protocol.then = lambda: seen.append(has_something(peer.sock))
            await exchange(peer, 1)
            assert seen == [True]

    run_over_another(main())


def test_a_handler_that_begins_to_take_its_time_is_late_once() -> None:
    """And once more only when it has been prompt for a good while again."""

    async def main() -> None:
        async with OverAnother() as (protocol, peer):
            seen: list[bool] = []

            def compute() -> None:
                time.sleep(0.005)
                seen.append(has_something(peer.sock))

            for quick, slow in ((QUICK, 10), (6, 1), (6, 1), (6, 1)):
                protocol.then = lambda: protocol.transport.write(b".")
                await exchange(peer, quick, 7)
                protocol.then = compute
                await exchange(peer, slow)
            # At its first, unless other work made the quick ones slow, so that it was not trusted yet.
            assert seen.count(False) <= 1

    run_over_another(main())


def test_the_second_piece_of_a_call_takes_the_first_along() -> None:
    async def main() -> None:
        async with OverAnother() as (protocol, peer):
            seen: list[bool] = []

            def compute() -> None:
                protocol.transport.write(b"first")
                time.sleep(0.005)
                protocol.transport.write(b"second")
                seen.append(has_something(peer.sock))

            protocol.then = lambda: protocol.transport.write(b".")
            await exchange(peer, QUICK, 7)
            protocol.then = compute
            await exchange(peer, 1)
            assert seen == [True]

    run_over_another(main())


async def test_small_writes_of_a_callback_that_ends_share_a_record() -> None:
    class Pieces(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\n")
            self.transport.write(b"\r\n")
            self.transport.writelines([b"body"] * 10)

    async with secured(Pieces, version="TLSv1.3") as (_, _protocol, peer):
        for _ in range(1000):  # once is enough: a machine with other work may interrupt any of them
            await peer.send(b"GET")
            sizes = await records(peer)
            await peer.receive(17 + 2 + 40)
            if sizes == [17 + 2 + 40 + 17]:  # with the content type and a tag of 16 bytes
                return
        raise AssertionError(f"never in one record, but in {sizes}")


@pytest.mark.parametrize(
    "ask",
    [
        asyncio.Transport.is_closing,
        asyncio.Transport.get_write_buffer_size,
        asyncio.Transport.close,
        asyncio.Transport.abort,
        lambda transport: transport.get_extra_info("socket"),
        lambda transport: transport.write(bytes(20_000)),
    ],
    ids=["is_closing", "get_write_buffer_size", "close", "abort", "socket", "more than a record"],
)
async def test_who_asks_how_it_stands_lets_go_of_what_waits(ask: Callable[[Any], object]) -> None:
    async with secured(Answering) as (transport, protocol, peer):
        protocol.then = lambda: protocol.transport.write(b".")
        await exchange(peer, QUICK, 7)
        seen: list[bool] = []
        name = getattr(ask, "__name__", "")

        def look() -> None:
            getattr(transport, name)() if name != "<lambda>" else ask(transport)
            seen.append(has_something(peer.sock))

        protocol.then = look
        await peer.send(b"request")
        assert await peer.receive(6) == b"answer"
        assert seen == [True]


async def test_what_was_written_before_an_error_leaves() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with secured(Answering) as (_, protocol, peer):
        protocol.then = lambda: protocol.transport.write(b".")
        await exchange(peer, QUICK, 7)
        protocol.then = fail
        await exchange(peer, 1)
        assert isinstance(await protocol.lost(), ZeroDivisionError)


async def test_a_drained_answer_is_there(streams: Any) -> None:
    """Streams: what ``drain()`` has returned for, the kernel has."""
    async with secured(Recorder) as (transport, protocol, peer):
        reader = streams.StreamReader(65536, protocol.loop)
        handling = streams.StreamReaderProtocol(reader, loop=protocol.loop)
        transport.set_protocol(handling)
        writer = streams.StreamWriter(transport, handling, reader, protocol.loop)
        for _ in range(QUICK):
            writer.write(b"answer")
            await writer.drain()
            assert has_something(peer.sock)
            assert await peer.receive(6) == b"answer"


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("count", [1, 12])
def test_writes_after_a_reset_are_counted_as_the_program_made_them(
    run: Run, caplog: pytest.LogCaptureFixture, layers: int, count: int
) -> None:
    """Not as the pieces that each of them is cut into, nor once more by each layer below."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = tcp_pair()
        (client, asking), (server, serving) = await asyncio.gather(
            loop.create_connection(Recorder, sock=ours), loop.create_connection(Recorder, sock=theirs)
        )
        plain = server
        for _ in range(layers):
            upgraded = await asyncio.gather(
                loop.start_tls(client, asking, client_context(), server_hostname="localhost"),
                loop.start_tls(server, serving, server_context(), server_side=True),
            )
            client, server = map(present, upgraded)
        sock = plain.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.abort()
        await serving.lost()
        for _ in range(count):
            client.write(bytes(3_000_000))
        with contextlib.suppress(OSError):
            await asking.lost()

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert len(caplog.records) <= max(0, count - 4)


async def test_a_log_that_is_sent_over_the_lost_connection_comes_to_an_end() -> None:
    """Each write after a reset logs a warning, which is written."""
    logger = logging.getLogger("asyncio")

    class Sender(logging.Handler):
        def __init__(self, transport: asyncio.Transport) -> None:
            super().__init__()
            self.transport, self.count = transport, 0

        def emit(self, record: logging.LogRecord) -> None:
            self.count += 1
            self.transport.write(record.getMessage().encode())

    async with secured(Recorder) as (transport, protocol, peer):
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.sock.close()
        sender = Sender(transport)
        logger.addHandler(sender)
        try:
            for _ in range(20):
                transport.write(b"x")
                transport.get_write_buffer_size()
            await protocol.lost()
        finally:
            logger.removeHandler(sender)
        assert 0 < sender.count < 100
