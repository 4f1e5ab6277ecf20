"""Timeouts of a server's connections: idle_timeout, first_byte_timeout, write_timeout, max_lifetime.

The loop's clock stands still until a test moves it.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recording import BufferRecorder, Recorder, Recording, turns
from set_clock import Served, ended, pass_time, play, serving

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have no limits

KINDS = {
    "idle_timeout": ("idle", "idle_timeout: nothing was received or sent for 80 seconds"),
    "first_byte_timeout": ("first_byte", "first_byte_timeout: nothing was received in the first 80 seconds"),
    "max_lifetime": ("lifetime", "max_lifetime: the connection was open for 80 seconds"),
}


def lost(protocol: Recording) -> bool:
    return "connection_lost" in protocol.calls


def counts(served: Served) -> dict[str, int]:
    return {kind: count for kind, count in served.server.status().timed_out.items() if count}


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("make", [Recorder, BufferRecorder])
@pytest.mark.parametrize("name", KINDS)
def test_a_silent_connection_gets_the_timeout_and_what_it_was(
    name: str, make: Callable[[], Recording], kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        limit: dict[str, Any] = {name: 80}
        async with serving(make, path=tmp_path / "s" if kind == "unix" else None, **limit) as served:
            sock, protocol = await served.connected()
            with sock:
                await pass_time(79.9)
                assert not lost(protocol)
                await pass_time(20.2)
                assert lost(protocol)
                assert type(protocol.error) is TimeoutError
                assert str(protocol.error) == KINDS[name][1]
                assert counts(served) == {KINDS[name][0]: 1}
                assert served.server.status().open == 0
                assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""

    play(main())


@pytest.mark.parametrize("from_peer", [True, False])
def test_a_byte_in_either_direction_begins_the_idle_time_again(from_peer: bool) -> None:
    async def main() -> None:
        async with serving(Recorder, idle_timeout=80) as served:
            sock, protocol = await served.connected()
            with sock:
                for count in range(1, 5):
                    await pass_time(60)
                    if from_peer:
                        sock.send(b"x")
                        await protocol.bytes_in(count)
                    else:
                        protocol.transport.write(b"x")
                assert not lost(protocol)
                await pass_time(79.9)
                assert not lost(protocol)
                await pass_time(21)
                assert lost(protocol)

    play(main())


def test_who_has_sent_a_byte_is_not_silent() -> None:
    async def main() -> None:
        async with serving(Recorder, first_byte_timeout=80) as served:
            sock, protocol = await served.connected()
            silent, other = await served.connected()
            with sock, silent:
                sock.send(b"x")
                await protocol.bytes_in(1)
                other.transport.write(b"what the server says first is no word of the client's")
                await pass_time(1000)
                assert not lost(protocol)
                assert lost(other)
                assert counts(served) == {"first_byte": 1}

    play(main())


def test_a_lifetime_ends_a_busy_connection_too() -> None:
    async def main() -> None:
        async with serving(Recorder, max_lifetime=80, idle_timeout=20) as served:
            sock, protocol = await served.connected()
            with sock:
                for count in range(1, 8):
                    sock.send(b"x")
                    await protocol.bytes_in(count)
                    await pass_time(10)
                assert not lost(protocol)
                protocol.transport.write(b"y")
                await pass_time(22)
                assert lost(protocol)
                assert counts(served) == {"lifetime": 1}

    play(main())


class Tight(Recorder):
    """Its kernel holds little of what is sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)


class Talker(Tight):
    """Says more than any buffer holds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(bytes(8 << 20))


async def drained(sock: socket.socket, count: int) -> None:
    while count > 0:
        count -= len(await asyncio.get_running_loop().sock_recv(sock, min(count, 1 << 20)))


def test_a_reader_that_takes_nothing_is_ended_and_one_that_is_slow_is_not() -> None:
    async def main() -> None:
        async with serving(Talker, write_timeout=80) as served:
            sock, protocol = await served.connected()
            stuck, other = await served.connected()
            with sock, stuck:
                await turns()
                for _ in range(6):
                    before = protocol.transport.get_write_buffer_size()
                    await drained(sock, 1 << 20)
                    while protocol.transport.get_write_buffer_size() == before:
                        await turns()
                    await pass_time(60)
                assert not lost(protocol)
                await ended(other)
                assert str(other.error) == "write_timeout: the peer took nothing of what was written for 80 seconds"
                await ended(protocol)
                assert counts(served) == {"write": 2}

    play(main())


def test_a_connection_with_nothing_to_send_has_no_write_timeout() -> None:
    async def main() -> None:
        async with serving(Recorder, write_timeout=80) as served:
            sock, protocol = await served.connected()
            with sock:
                protocol.transport.write(b"x")
                await pass_time(1000)
                assert not lost(protocol)

    play(main())


def test_a_connection_that_closes_and_whose_peer_takes_nothing_is_ended() -> None:
    async def main() -> None:
        async with serving(Talker, write_timeout=80) as served:
            sock, protocol = await served.connected()
            with sock:
                await turns()
                protocol.transport.close()
                await pass_time(70)
                assert not lost(protocol)
                await ended(protocol)
                assert isinstance(protocol.error, TimeoutError)

    play(main())


@pytest.mark.parametrize("name", ["idle_timeout", "first_byte_timeout"])
def test_who_is_not_read_is_not_idle(name: str) -> None:
    """A handler that computes for longer than the timeout pauses reading."""

    async def main() -> None:
        limit: dict[str, Any] = {name: 80}
        async with serving(Recorder, **limit) as served:
            sock, protocol = await served.connected()
            with sock:
                protocol.transport.pause_reading()
                await pass_time(1000)
                assert not lost(protocol)
                protocol.transport.resume_reading()
                await pass_time(79)
                assert not lost(protocol)
                await pass_time(22)
                assert lost(protocol)

    play(main())


def test_a_pause_between_two_looks_begins_the_idle_time_again() -> None:
    async def main() -> None:
        async with serving(Recorder, idle_timeout=80) as served:
            sock, protocol = await served.connected()
            with sock:
                await pass_time(75)
                protocol.transport.pause_reading()
                protocol.transport.resume_reading()
                await pass_time(79)
                assert not lost(protocol)
                await pass_time(22)
                assert lost(protocol)

    play(main())


def test_who_owes_nothing_after_its_end_is_not_idle() -> None:
    """The client has sent all, and waits for an answer that takes long."""

    async def main() -> None:
        class KeepsOpen(Recorder):
            keep_open = True

        async with serving(KeepsOpen, idle_timeout=80, first_byte_timeout=80) as served:
            sock, protocol = await served.connected()
            with sock:
                sock.shutdown(socket.SHUT_WR)
                await protocol.called("eof_received")
                await pass_time(1000)
                assert not lost(protocol)

    play(main())


def test_what_is_not_read_while_much_is_unsent_counts_as_idle() -> None:
    """A peer that takes nothing can't live on by having made the program pause."""

    async def main() -> None:
        async with serving(Talker, idle_timeout=80) as served:
            sock, protocol = await served.connected()
            with sock:
                await turns()
                protocol.transport.pause_reading()
                await ended(protocol)
                assert counts(served) == {"idle": 1}

    play(main())


@pytest.mark.parametrize("limit", [{"idle_timeout": 80}, {"write_timeout": 80}])
def test_sendfile_to_a_slow_reader_goes_on_and_to_a_stuck_one_ends(limit: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8 << 20))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serving(Tight, **limit) as served:
            sock, protocol = await served.connected()
            with sock, path.open("rb") as file:
                sending = loop.create_task(loop.sendfile(protocol.transport, file))
                await turns()
                for _ in range(4):
                    before = served_bytes(protocol)
                    await drained(sock, 1 << 20)
                    while served_bytes(protocol) == before:
                        await turns()
                    await pass_time(60)
                assert not lost(protocol)
                await ended(protocol)
                with pytest.raises(ConnectionError):
                    await sending

    play(main())


def served_bytes(protocol: Recording) -> int:
    transport: Any = protocol.transport
    count: int = transport.bytes_sent
    return count


def test_streams_raise_what_the_connection_was_ended_for() -> None:
    import edgeloop.streams

    async def main(start_server: Any) -> None:
        errors: list[BaseException] = []
        done = asyncio.Event()

        async def handler(reader: Any, writer: Any) -> None:
            try:
                await reader.readline()
            except TimeoutError as exc:
                errors.append(exc)
            done.set()
            writer.close()

        server = await start_server(handler, "127.0.0.1", 0, idle_timeout=80)
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.send(b"half a li")
            while not server.status().accepted:
                await turns()
            await turns(20)
            await pass_time(200)
            await done.wait()
            assert re.match("idle_timeout", str(errors[0]))
        server.close()

    play(main(asyncio.start_server))
    play(main(edgeloop.streams.start_server))
