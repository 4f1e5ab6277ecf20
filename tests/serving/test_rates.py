"""read_rate and write_rate: bytes a second for each connection. The loop's clock stands still until a test moves it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, Recording, turns
from set_clock import TURNS, play, serving
from set_clock import pass_time as pass_time_in_steps
from tls_certificates import client_context, server_context
from tls_peer import Peer

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have no limits

RATE = 1000


async def pass_time(seconds: float) -> None:
    """In steps shorter than what a bucket holds."""
    await pass_time_in_steps(seconds, 1 / 8)


def waiting(sock: socket.socket) -> bytes:
    """What has arrived."""
    try:
        return sock.recv(1 << 20)
    except BlockingIOError:
        return b""


async def arrived(sock: socket.socket, count: int) -> bytes:
    """So many bytes, which have been sent."""
    got = b""
    while len(got) < count:
        got += await asyncio.get_running_loop().sock_recv(sock, count - len(got))
    return got


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("make", [Recorder, BufferRecorder])
def test_what_a_client_sends_is_read_at_the_rate(make: Callable[[], Recording], kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(make, path=tmp_path / "s" if kind == "unix" else None, read_rate=RATE) as served:
            sock, protocol = await served.connected()
            data = bytes(range(256)) * 20
            with sock:
                sock.send(data)
                await protocol.bytes_in(RATE)  # one second's worth at once
                await turns(TURNS)
                assert len(protocol.received) == RATE
                assert protocol.transport.is_reading()
                for second in range(2, 6):
                    await pass_time(1)
                    assert len(protocol.received) == RATE * second
                await pass_time(1)
                assert bytes(protocol.received) == data
                sock.close()
                await protocol.lost()
                assert protocol.error is None

    play(main())


@pytest.mark.parametrize("make", [Recorder, BufferRecorder])
def test_what_follows_a_descriptor_is_read_too(make: Callable[[], Recording], tmp_path: Path) -> None:
    """The descriptor ends a read that the rate would allow to go on; no event tells of the rest (rule 2)."""

    async def main() -> None:
        async with serving(make, path=tmp_path / "s", read_rate=RATE) as served:
            sock, protocol = await served.connected()
            with sock:
                socket.send_fds(sock, [b"one"], [sock.fileno()])
                sock.send(b"two")
                await protocol.bytes_in(6)
                assert protocol.received == b"onetwo"

    play(main())


def test_what_is_written_leaves_at_the_rate() -> None:
    async def main() -> None:
        async with serving(Recorder, write_rate=RATE) as served:
            sock, protocol = await served.connected()
            data = bytes(range(256)) * 20
            with sock:
                protocol.transport.writelines([data[:700], data[700:3000], data[3000:]])
                got = await arrived(sock, RATE)
                await turns(TURNS)
                assert waiting(sock) == b""
                assert protocol.transport.get_write_buffer_size() == len(data) - RATE
                for _ in range(4):
                    await pass_time(1)
                    got += await arrived(sock, RATE)
                    assert waiting(sock) == b""
                await pass_time(1)
                got += await arrived(sock, len(data) - len(got))
                assert got == data
                assert protocol.transport.get_write_buffer_size() == 0

    play(main())


def test_a_slow_second_gives_the_next_one_more_up_to_the_burst() -> None:
    async def main() -> None:
        async with serving(Recorder, write_rate=RATE) as served:
            sock, protocol = await served.connected()
            with sock:
                protocol.transport.write(bytes(RATE))
                await arrived(sock, RATE)
                await pass_time(0.5)
                protocol.transport.write(bytes(RATE))
                await arrived(sock, RATE // 2)
                assert protocol.transport.get_write_buffer_size() == RATE // 2
                await pass_time(100)
                await arrived(sock, RATE // 2)
                protocol.transport.write(bytes(2 * RATE))
                await arrived(sock, RATE)
                assert protocol.transport.get_write_buffer_size() == RATE

    play(main())


def test_the_protocol_is_paused_and_resumed_as_ever() -> None:
    async def main() -> None:
        async with serving(Recorder, write_rate=RATE) as served:
            sock, protocol = await served.connected()
            with sock:
                protocol.transport.set_write_buffer_limits(high=2000, low=500)
                protocol.transport.write(bytes(4000))
                assert protocol.calls[-1] == "pause_writing"
                await pass_time(2)
                assert "resume_writing" not in protocol.calls
                await pass_time(0.75)
                assert protocol.calls[-1] == "resume_writing"

    play(main())


def test_close_sends_all_at_the_rate_and_abort_no_more_than_it() -> None:
    async def main() -> None:
        async with serving(Recorder, write_rate=RATE) as served:
            sock, protocol = await served.connected()
            other, aborted = await served.connected()
            with sock, other:
                for one in (protocol, aborted):
                    one.transport.write(bytes(RATE))
                    one.transport.write(bytes(RATE))
                aborted.transport.abort()
                await aborted.lost()
                assert len(await arrived(other, RATE)) == RATE
                assert waiting(other) == b""  # and the end
                protocol.transport.close()
                await turns(TURNS)
                assert "connection_lost" not in protocol.calls
                await pass_time(1)
                assert protocol.error is None
                assert "connection_lost" in protocol.calls
                assert len(await arrived(sock, 2 * RATE)) == 2 * RATE

    play(main())


def test_write_eof_follows_the_last_byte() -> None:
    async def main() -> None:
        async with serving(Recorder, write_rate=RATE) as served:
            sock, protocol = await served.connected()
            with sock:
                protocol.transport.write(bytes(2 * RATE))
                protocol.transport.write_eof()
                await pass_time(1)
                assert len(await arrived(sock, 2 * RATE)) == 2 * RATE
                assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""

    play(main())


def test_sendfile_keeps_to_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 10)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serving(Recorder, write_rate=RATE) as served:
            sock, protocol = await served.connected()
            with sock, path.open("rb") as file:
                sending = loop.create_task(loop.sendfile(protocol.transport, file))
                got = await arrived(sock, RATE)
                await turns(TURNS)
                assert waiting(sock) == b""
                await pass_time(1)
                got += await arrived(sock, RATE)
                assert not sending.done()
                await pass_time(1)
                assert await sending == 2560
                assert got + await arrived(sock, 560) == path.read_bytes()

    play(main())


def test_tls_counts_encrypted_bytes() -> None:
    async def main() -> None:
        tls = server_context()
        async with serving(Recorder, tls=tls, ssl_handshake_timeout=1e6, read_rate=20000, write_rate=20000) as served:
            sock = await served.client()
            with sock:
                peer = Peer(sock, client_context(), server_side=False)
                await peer.handshake()
                protocol = await served.protocol()
                await peer.send(bytes(30000))
                await turns(TURNS)
                await pass_time(2)
                assert len(await protocol.bytes_in(30000)) == 30000
                protocol.transport.write(bytes(60000))
                await turns(TURNS)
                assert protocol.transport.get_extra_info("socket") is not None
                receiving = asyncio.ensure_future(peer.receive(60000))
                await pass_time(1)
                assert not receiving.done()
                await pass_time(4)
                assert await receiving == bytes(60000)

    play(main())


def test_rates_change_while_connections_are_open() -> None:
    async def main() -> None:
        async with serving(Recorder) as served:
            sock, protocol = await served.connected()
            with sock:
                sock.send(bytes(5000))
                await protocol.bytes_in(5000)
                served.server.set_limits(read_rate=RATE, write_rate=RATE)
                sock.send(bytes(5000))
                await protocol.bytes_in(6000)
                await pass_time(1)
                assert len(protocol.received) == 7000
                served.server.set_limits(read_rate=2 * RATE)
                await pass_time(1)
                assert len(protocol.received) in range(9000 - RATE // 8, 9001)
                protocol.transport.write(bytes(5000))
                await turns(TURNS)
                assert protocol.transport.get_write_buffer_size() == 4000
                served.server.set_limits(read_rate=None, write_rate=None)
                await pass_time(1)
                assert len(protocol.received) == 10000
                assert len(await arrived(sock, 5000)) == 5000
                sock.send(bytes(50000))
                await protocol.bytes_in(60000)

    play(main())


def test_a_rate_below_one_byte_a_second_lets_one_through_at_a_time() -> None:
    async def main() -> None:
        async with serving(Recorder, read_rate=0.5) as served:
            sock, protocol = await served.connected()
            with sock:
                sock.send(b"abc")
                assert await protocol.bytes_in(1) == b"a"
                await pass_time(1.5)
                assert protocol.received == b"a"
                await pass_time(1)
                assert protocol.received == b"ab"
                await pass_time(2)
                assert protocol.received == b"abc"

    play(main())


def test_what_the_rate_holds_back_is_not_the_peers_fault() -> None:
    async def main() -> None:
        limits: dict[str, Any] = {"idle_timeout": 8, "write_timeout": 8, "first_byte_timeout": 8}
        async with serving(Recorder, read_rate=0.05, write_rate=0.05, **limits) as served:
            sock, protocol = await served.connected()
            with sock:
                sock.send(b"abc")
                protocol.transport.write(b"abc")
                await protocol.bytes_in(1)
                await pass_time(35)
                assert protocol.received == b"ab"
                assert "connection_lost" not in protocol.calls
                await pass_time(30)
                await turns(TURNS)
                assert protocol.received == b"abc"
                await pass_time(12)
                assert isinstance(protocol.error, TimeoutError)

    play(main())


def test_a_client_that_resets_while_it_is_held_is_noticed() -> None:
    async def main() -> None:
        async with serving(Recorder, read_rate=RATE) as served:
            sock, protocol = await served.connected()
            sock.send(bytes(1500))
            await protocol.bytes_in(RATE)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
            await pass_time(1)
            assert isinstance(protocol.error, ConnectionResetError)

    play(main())
